/**
 * Two nodes with a router between, made of the plans of a road and no agents, so that it is quick under QEMU too. Nodes
 * have underlay addresses of one family only; each has a pod.
 *
 *     pod a ─ node a ─ eth0 ══ to-a ─ router ─ to-b ══ eth0 ─ node b ─ pod b
 */
import { closeSync, globSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import type { Self } from '#backends/backend.ts';
import { advertOf, planNode, planPeer, podMtu } from '#backends/node-plan.ts';
import { bridgeMac } from '#backends/backend.ts';
import { parseSettings } from '#config/parse.ts';
import type { Kernel } from '#kernel/kernel.ts';
import { openKernel } from '#kernel/linux.ts';
import { openNetns, ready } from '#kernel/netns.ts';
import type { Attachment } from '#model/attachment.ts';
import { diff } from '#model/diff.ts';
import { hostState, type Item } from '#model/host.ts';
import type { Settings } from '#model/settings.ts';
import type { NodeAdvert } from '#model/world.ts';
import { type Address, type Family, FAMILIES } from '#net/address.ts';
import { type PerFamily, perFamily } from '#net/per-family.ts';
import { nthAddress, nthSubnet, prefix } from '#net/prefix.ts';
import { hostLinkName, podMac } from '#wiring/names.ts';
import { planPod, shapeAddresses, type WiringContext } from '#wiring/pod.ts';
import { stationsOf, withRange } from '#wiring/segment.ts';
import { makeForwarding, makeNamespace, type Namespace } from './namespace.ts';

export type Side = 'a' | 'b';
export const SIDES: readonly Side[] = ['a', 'b'];
/** The underlay's prefix of each side; the router has its first address, the node its second. */
const LANS = {
  a: { 4: prefix('192.0.2.0/25'), 6: prefix('2001:db8:a::/64') },
  b: { 4: prefix('192.0.2.128/25'), 6: prefix('2001:db8:b::/64') },
} as const;

export type WireNode = {
  readonly netns: Namespace;
  readonly pod: Namespace;
  /** The pod's addresses, without lengths. */
  readonly addresses: PerFamily<Address>;
  readonly attachment: Attachment;
  readonly underlay: Address;
  readonly kernel: Kernel;
  /** What node and pod need, and (while it is known) the peer. */
  readonly converge: (peer: NodeAdvert | undefined) => void;
  /** Removes all of that, and answers what is still seen. */
  readonly clear: () => Item[];
  readonly advert: NodeAdvert;
};
export type Wire = Disposable & {
  readonly router: Namespace;
  readonly nodes: Readonly<Record<Side, WireNode>>;
  /** Bytes that pods may send. */
  readonly mtu: number;
};

export type WireOptions = {
  readonly outer: Family;
  /** By path, as flags give them; `profile` too. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** Of nodes' links, in bytes; both have 1500 unless told. */
  readonly mtu?: Partial<Record<Side, number>>;
};

export async function makeWire(label: string, options: WireOptions): Promise<Wire> {
  await ready;
  using undo = new DisposableStack();
  const place = (name: string): Namespace => {
    const made = makeNamespace(`${label}-${name}`);
    undo.defer(() => made.remove());
    return made;
  };
  const router = place('r');
  await makeForwarding(router);
  const home = undo.use(openKernel());
  const nodes = {} as Record<Side, WireNode>;
  for (const side of SIDES) {
    const [netns, pod] = [place(`n${side}`), place(`p${side}`)];
    await makeForwarding(netns);
    await cable(router, netns, { side, ...options });
    const kernel = undo.use(home.within(descriptorOf(netns, undo)));
    nodes[side] = makeNode({ kernel, netns, pod, home, self: selfOf(side, options) });
  }
  nodes.a.converge(nodes.b.advert);
  nodes.b.converge(nodes.a.advert);
  const kept = undo.move();
  return {
    router,
    nodes,
    mtu: Math.min(...SIDES.map((side) => nodes[side].attachment.mtu)),
    [Symbol.dispose]: () => kept.dispose(),
  };
}

function descriptorOf(netns: Namespace, undo: DisposableStack): number {
  const descriptor = openNetns(netns.path);
  undo.defer(() => closeSync(descriptor));
  return descriptor;
}

type End = WireOptions & { readonly side: Side };

/** Few processes: under QEMU each takes a second. */
async function cable(router: Namespace, node: Namespace, { side, outer, mtu = {} }: End): Promise<void> {
  const bytes = mtu[side] ?? 1500;
  const lan = LANS[side][outer];
  const length = lan.slice(lan.indexOf('/'));
  const nodad = outer === 6 ? ' nodad' : '';
  const batch = (place: Namespace, lines: readonly string[]): Promise<string> =>
    place.must(['ip', `-${outer}`, '-batch', '-'], { input: `${lines.join('\n')}\n` });
  await batch(router, [
    `link add to-${side} mtu ${bytes} type veth peer name eth0 netns ${node.name} mtu ${bytes}`,
    `address add ${nthAddress(lan, 1n)}${length} dev to-${side}${nodad}`,
    `link set to-${side} up`,
  ]);
  await batch(node, [
    `address add ${nthAddress(lan, 2n)}${length} dev eth0${nodad}`,
    'link set eth0 up',
    `route add default via ${nthAddress(lan, 1n)}`,
  ]);
}

function settingsOf(side: Side, overrides: WireOptions['settings']): Settings {
  const profiles = Object.fromEntries(
    globSync('profiles/*.yaml').map((file) => [basename(file, '.yaml'), readFileSync(file, 'utf8')]),
  );
  return parseSettings([], profiles, {
    'node.name': side,
    'network.ipv4.range': '10.244.0.0/16',
    'network.ipv6.range': 'fd00:244::/48',
    'policy.enforce': false,
    ...overrides,
  }).settings;
}

function selfOf(side: Side, { outer, settings: overrides, mtu = {} }: WireOptions): Self {
  const settings = settingsOf(side, overrides);
  const lan = LANS[side][outer];
  const local = { [outer]: nthAddress(lan, 2n) };
  return {
    name: side,
    subnets: perFamily((family) => {
      const all = settings.network.subnets[family];
      return all === undefined
        ? undefined
        : nthSubnet(all.range, all.length, BigInt(SIDES.indexOf(side) + 1));
    }),
    underlay: {
      link: 'eth0',
      mtu: mtu[side] ?? 1500,
      local,
      announced: local,
      connected: [lan],
      why: 'test',
    },
    settings,
  };
}

type Ground = {
  readonly home: { within: (netns: number) => Kernel & Disposable };
  readonly kernel: Kernel;
  readonly netns: Namespace;
  readonly pod: Namespace;
  readonly self: Self;
};

function makeNode({ home, kernel, netns, pod, self }: Ground): WireNode {
  const attachment = attachmentOf(self);
  const plan = planPod(attachment, contextOf(self));
  const descriptor = openNetns(pod.path);
  if (plan.pair !== undefined) kernel.createPair({ ...plan.pair, netns: descriptor });
  {
    using within = home.within(descriptor);
    converge(within, plan.container);
  }
  closeSync(descriptor);
  const advert = advertOf(self, true);
  return {
    netns,
    pod,
    kernel,
    attachment,
    addresses: podAddresses(self),
    underlay: Object.values(self.underlay.local)[0] as Address,
    advert:
      advert.layer2 === undefined
        ? advert
        : {
            ...advert,
            layer2: { ...advert.layer2, stations: stationsOf([attachment], bridgeMac(self.name)) },
          },
    clear: () => {
      converge(kernel, []);
      return [...kernel.observe({ sysctls: [], foreignLinks: [] }).values()];
    },
    converge: (peer) =>
      converge(kernel, [
        ...planNode(self),
        ...plan.host,
        ...(peer === undefined ? [] : planPeer(self, peer).items),
      ]),
  };
}

function converge(kernel: Kernel, items: readonly Item[]): void {
  const named = (kind: 'sysctl' | 'foreign'): string[] =>
    items.flatMap((item) => {
      if (item.kind === 'sysctl') return kind === 'sysctl' ? [item.key] : [];
      return item.kind === 'link' && item.type === 'foreign' && kind === 'foreign' ? [item.name] : [];
    });
  const interest = { sysctls: named('sysctl'), foreignLinks: named('foreign') };
  const failures = kernel.apply(diff(hostState(items), kernel.observe(interest)));
  if (failures.length > 0) throw new Error(failures.map(({ message }) => message).join('; '));
}

/** The second address that a pod can have: the first is the bridge's. */
function podAddresses({ subnets }: Self): PerFamily<Address> {
  return perFamily((family) => (subnets[family] === undefined ? undefined : nthAddress(subnets[family], 2n)));
}

function contextOf({ settings: { wiring, road } }: Self): WiringContext {
  const present = wiring.type === 'bridge';
  return { bridge: { ...wiring.bridge, isolated: false, present, segment: road.type === 'layer2' } };
}

function attachmentOf(self: Self): Attachment {
  const { wiring, road, network } = self.settings;
  const key = { network: 'pods', containerId: self.name, ifname: 'eth0' };
  const own = FAMILIES.map((family) => podAddresses(self)[family]).filter((ip) => ip !== undefined);
  const shaped = shapeAddresses(wiring.type, own, self.subnets);
  const ranges = perFamily((family) => network.subnets[family]?.range);
  return {
    ...key,
    ...shaped,
    ...(road.type === 'layer2' ? { addresses: shaped.addresses.map((ip) => withRange(ip, ranges)) } : {}),
    phase: 'ready',
    netns: '',
    netnsInode: 0,
    bootId: '',
    configHash: '',
    wiring: wiring.type,
    hostLink: hostLinkName(key),
    mac: podMac(key),
    mtu: podMtu(self),
    routes: [],
    portMappings: [],
  };
}
