/** What every Kernel does, as checks that run against any: the real one and the fake one. */
import assert from 'node:assert/strict';
import { diff, type Step } from '#model/diff.ts';
import { Fault } from '#model/fault.ts';
import { hostState, type Item, keyOf } from '#model/host.ts';
import { address } from '#net/address.ts';
import { mac } from '#net/mac.ts';
import { interfaceAddress, prefix } from '#net/prefix.ts';
import type { Kernel } from './kernel.ts';

/** An empty namespace with a foreign link `eth0` (up, 10.9.0.1/24), and an empty one for a pod. */
export type Subject = { readonly kernel: Kernel; readonly podNetns: number };
export type Check = (subject: Subject) => void | Promise<void>;

const NOTHING = { sysctls: [], foreignLinks: [] };
const remote = mac('02:00:00:00:01:00');
const POD = {
  hostName: 'tt00000000001',
  podName: 'eth0',
  podMac: mac('02:00:00:00:00:99'),
  mtu: 1400,
};

const vxlan = {
  kind: 'link',
  type: 'vxlan',
  name: 'tartan.1',
  vni: 1,
  port: 8472,
  local: address('10.9.0.1'),
  parent: 'eth0',
  learning: false,
  gbp: false,
  mtu: 1450,
  mac: mac('02:00:00:00:00:02'),
} as const satisfies Item;
const NOBODY = mac('00:00:00:00:00:00');
const peerRoute = {
  kind: 'route',
  type: 'unicast',
  prefix: prefix('10.1.1.0/24'),
  table: 254,
  metric: 512,
  link: 'tartan.1',
  via: address('10.1.1.0'),
  onlink: true,
} as const satisfies Item;
const peer: readonly Item[] = [
  vxlan,
  { kind: 'address', link: 'tartan.1', address: interfaceAddress(address('10.1.0.0'), 32) },
  { kind: 'neighbor', link: 'tartan.1', address: address('10.1.1.0'), mac: remote },
  { kind: 'fdb', link: 'tartan.1', mac: remote, remote: address('10.9.0.2') },
  peerRoute,
  { kind: 'route', type: 'blackhole', prefix: prefix('10.1.0.0/24'), table: 254, metric: 4096 },
  { kind: 'route', type: 'blackhole', prefix: prefix('fd02::/64'), table: 254, metric: 4096 },
];

function add(item: Item): Step {
  return { op: 'add', key: keyOf(item), item };
}

function converge(kernel: Kernel, items: readonly Item[]): void {
  const wanted = hostState(items);
  assert.deepEqual(kernel.apply(diff(wanted, kernel.observe(NOTHING))), []);
  assert.deepEqual(diff(wanted, kernel.observe(NOTHING)), []);
}

export const CONTRACT: Readonly<Record<string, Check>> = {
  'a namespace without our marks shows nothing': ({ kernel }) => {
    assert.deepEqual([...kernel.observe(NOTHING)], []);
  },
  'what is applied is what is seen, and can be taken away': ({ kernel }) => {
    converge(kernel, peer);
    converge(kernel, []);
    assert.equal(kernel.observe(NOTHING).size, 0);
  },
  'a changed item is changed, a changed VXLAN identity is made anew': ({ kernel }) => {
    converge(kernel, peer);
    const moved = peer.map((item) => (item.kind === 'fdb' ? { ...item, remote: address('10.9.0.3') } : item));
    converge(kernel, moved);
    const steps = diff(hostState([{ ...vxlan, vni: 7 }]), hostState([vxlan]));
    assert.deepEqual(kernel.apply(steps), []);
    const seen = kernel.observe(NOTHING);
    assert.equal((seen.get('link tartan.1') as typeof vxlan | undefined)?.vni, 7);
    assert.equal(seen.has('fdb tartan.1 02:00:00:00:01:00'), false, 'entries went with the old device');
  },
  'a VXLAN device as a port of a bridge: stations, and copies for everybody': ({ kernel }) => {
    const bridge = { kind: 'link', type: 'bridge', name: 'ktbr0' } as const satisfies Item;
    const port = { ...vxlan, master: 'ktbr0', notesSources: false, answersNeighbors: true } as const;
    const copy = (to: string): Item => ({ kind: 'fdb', link: 'tartan.1', mac: NOBODY, remote: address(to) });
    const known: readonly Item[] = [
      { kind: 'fdb', link: 'tartan.1', mac: remote, remote: address('10.9.0.2') },
      { kind: 'station', link: 'tartan.1', mac: remote },
      { kind: 'neighbor', link: 'ktbr0', address: address('10.1.1.7'), mac: remote },
      { kind: 'neighbor', link: 'ktbr0', address: address('fd01::7'), mac: remote },
    ];
    const base = [bridge, port, ...known];
    converge(kernel, [...base, copy('10.9.0.2'), copy('10.9.0.3')]);
    converge(kernel, [...base, copy('10.9.0.4'), copy('10.9.0.3')]);
    converge(kernel, [bridge, { ...port, notesSources: true, answersNeighbors: false }, copy('10.9.0.3')]);
    converge(kernel, []);
  },
  'what is no longer wanted of an item is taken from it': ({ kernel, podNetns }) => {
    const bridge = { kind: 'link', type: 'bridge', name: 'ktbr0' } as const satisfies Item;
    const port = { kind: 'link', type: 'veth', name: POD.hostName } as const satisfies Item;
    const [, home, neighbor] = peer;
    const base = [vxlan, home, neighbor, bridge].filter((item) => item !== undefined);
    const six = { ...peerRoute, prefix: prefix('fd01::/64'), via: address('fe80::1') };
    const more = { mtu: 1300, advmss: 1200 };
    kernel.createPair({ ...POD, netns: podNetns });
    converge(kernel, [...base, { ...port, master: 'ktbr0' }, { ...peerRoute, ...more }, { ...six, ...more }]);
    converge(kernel, [...base, port, peerRoute, six]);
    const seen = kernel.observe(NOTHING);
    assert.equal((seen.get(keyOf(port)) as { master?: string }).master, undefined);
    for (const route of [peerRoute, six])
      assert.deepEqual(
        Object.keys(seen.get(keyOf(route)) ?? {}).filter((name) => name in more),
        [],
      );
    const { via: _via, onlink: _onlink, ...direct } = peerRoute;
    converge(kernel, [...base, port, direct, six]);
  },
  'who answers for whom, and rules for what comes in by a link': ({ kernel }) => {
    const bridge = { kind: 'link', type: 'bridge', name: 'ktbr0' } as const;
    const rule = { kind: 'rule', table: 0x7473_0000, priority: 31_100 } as const;
    const six = { ...rule, from: prefix('fd01::/64') };
    converge(kernel, [
      bridge,
      { kind: 'proxy', link: 'ktbr0', address: address('10.1.0.7') },
      { kind: 'proxy', link: 'ktbr0', address: address('fd01::7') },
      { ...rule, from: prefix('0.0.0.0/0'), iif: 'ktbr0' },
      { ...rule, from: prefix('::/0'), iif: 'ktbr0' },
      { ...six, iif: 'ktbr0' },
      six,
    ]);
    converge(kernel, [bridge, six]);
    converge(kernel, []);
  },
  'a stranger’s master is left alone': ({ kernel }) => {
    const eth0 = { kind: 'link', type: 'foreign', name: 'eth0' } as const;
    const bridge = { kind: 'link', type: 'bridge', name: 'ktbr0' } as const;
    converge(kernel, [bridge]);
    const wanted = { ...eth0, master: 'ktbr0' };
    assert.deepEqual(kernel.apply([add(wanted)]), []);
    const seen = kernel.observe({ ...NOTHING, foreignLinks: ['eth0'] });
    assert.deepEqual(diff(hostState([bridge, eth0]), seen), []);
  },
  'one step that fails does not keep the others from being done': ({ kernel }) => {
    const lost = { ...peerRoute, prefix: prefix('10.1.9.0/24'), link: 'nowhere' };
    const failures = kernel.apply([add(vxlan), add(lost), add(peerRoute)]);
    assert.deepEqual(
      failures.map(({ step, code }) => [step.key, code]),
      [[keyOf(lost), 'ENODEV']],
    );
    assert.ok(kernel.observe(NOTHING).has(keyOf(peerRoute)));
  },
  'a rule is there once, and can be taken away': ({ kernel }) => {
    const rules = (['10.1.0.9/32', 'fd02::9/128'] as const).map((from): Item => ({
      kind: 'rule',
      from: prefix(from),
      table: 0x7474_0001,
      priority: 31_000,
    }));
    converge(kernel, rules);
    assert.deepEqual(kernel.apply(rules.map(add)), []);
    converge(kernel, []);
    assert.equal(kernel.observe(NOTHING).size, 0);
  },
  'removing what is gone is no failure': ({ kernel }) => {
    const steps = peer.map((item): Step => ({ op: 'remove', key: keyOf(item), was: item }));
    assert.deepEqual(kernel.apply(steps), []);
  },
  'adding what is there already is no failure': ({ kernel }) => {
    assert.deepEqual(kernel.apply(peer.map(add)), []);
    assert.deepEqual(kernel.apply(peer.map(add)), []);
  },
  'what stands on a link goes with it': ({ kernel }) => {
    converge(kernel, peer);
    assert.deepEqual(kernel.apply([{ op: 'remove', key: keyOf(vxlan), was: vxlan }]), []);
    const left = [...kernel.observe(NOTHING).keys()].sort();
    assert.deepEqual(left, ['route 254 10.1.0.0/24 4096', 'route 254 fd02::/64 4096']);
  },
  'a stranger’s link is neither made over nor removed': async ({ kernel }) => {
    const item = { kind: 'link', type: 'bridge', name: 'eth0' } as const;
    assert.equal(kernel.apply([add(item)])[0]?.code, 'EEXIST');
    assert.equal(kernel.apply([{ op: 'remove', key: keyOf(item), was: item }])[0]?.code, 'EPERM');
    await kernel.reapLinks(['eth0']);
    assert.ok(kernel.observe({ ...NOTHING, foreignLinks: ['eth0'] }).has('link eth0'));
  },
  'a pair spans two namespaces, once, and is reaped': async ({ kernel, podNetns }) => {
    const pair = { ...POD, netns: podNetns };
    const { hostIndex, podIndex } = kernel.createPair(pair);
    assert.ok(hostIndex > 0 && podIndex > 0);
    assert.throws(() => kernel.createPair(pair), Fault);
    using pod = kernel.within(podNetns);
    const inside = { ...NOTHING, foreignLinks: ['eth0'] };
    assert.equal((pod.observe(inside).get('link eth0') as { down?: true }).down, true);
    const eth0 = { kind: 'link', type: 'foreign', name: 'eth0', mac: POD.podMac } as const;
    const home = {
      kind: 'address',
      link: 'eth0',
      address: interfaceAddress(address('10.1.0.7'), 32),
    } as const;
    assert.deepEqual(pod.apply([add(eth0), add(home)]), []);
    assert.deepEqual(diff(hostState([eth0, home]), pod.observe(inside)), []);
    await kernel.reapLinks([POD.hostName, 'tt0000000000f']);
    assert.equal(kernel.observe(NOTHING).size, 0);
    assert.equal(pod.observe(inside).size, 0);
  },
  'a pod that comes and goes is no change of the underlay': async ({ kernel, podNetns }) => {
    const stop = new AbortController();
    const told: string[] = [];
    const following = (async () => {
      for await (const change of kernel.changes(stop.signal)) told.push(change.type);
    })();
    const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 50));
    // A new namespace still has something to tell of itself.
    do {
      told.length = 0;
      await pause();
    } while (told.length > 0);
    kernel.createPair({ ...POD, netns: podNetns });
    using pod = kernel.within(podNetns);
    assert.deepEqual(pod.apply([add({ kind: 'link', type: 'foreign', name: 'eth0', mac: POD.podMac })]), []);
    await pause();
    await kernel.reapLinks([POD.hostName]);
    await pause();
    stop.abort();
    await following;
    assert.ok(!told.includes('underlay'), told.join());
    assert.ok(!told.includes('resync'), told.join());
  },
  'changes are told': async ({ kernel }) => {
    const stop = new AbortController();
    const told = new Map<string, Item | undefined>();
    const following = (async () => {
      for await (const change of kernel.changes(stop.signal)) {
        if (change.type !== 'item') continue;
        told.set(change.key, change.seen);
        const gone = [keyOf(vxlan), keyOf(peerRoute)].every(
          (key) => told.has(key) && told.get(key) === undefined,
        );
        if (gone) stop.abort();
      }
    })();
    const patience = setTimeout(() => stop.abort(), 30_000);
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.deepEqual(kernel.apply(peer.map(add)), []);
    const untold = (): string[] => peer.map(keyOf).filter((key) => told.get(key) === undefined);
    while (untold().length > 0 && !stop.signal.aborted)
      await new Promise((resolve) => setTimeout(resolve, 5));
    assert.deepEqual(untold(), []);
    kernel.apply([{ op: 'remove', key: keyOf(vxlan), was: vxlan }]);
    await following;
    clearTimeout(patience);
    assert.equal(told.get(keyOf(vxlan)), undefined);
    assert.equal(told.get(keyOf(peerRoute)), undefined, 'the route went with its link');
  },
};
