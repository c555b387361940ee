import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Foreign } from './foreign.ts';
import { Host } from './host.ts';
import { Events } from '#lib/log.ts';
import { parseSettings } from '#config/parse.ts';
import { FakeKernel } from '#kernel/fake.ts';
import type { LinkItem, RouteItem } from '#model/host.ts';
import { MAIN_TABLE, METRIC, PORT_RULE } from '#model/numbers.ts';
import { mac } from '#net/mac.ts';
import { prefix } from '#net/prefix.ts';

const FLANNEL = readFileSync(new URL('../../../profiles/flannel.yaml', import.meta.url), 'utf8');
const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
const route = (index: number): RouteItem => ({
  kind: 'route',
  type: 'unicast',
  prefix: prefix(`10.244.${index}.0/24`),
  table: MAIN_TABLE,
  metric: METRIC.pod,
  link: 'eth0',
});
const routes = (count: number): RouteItem[] => Array.from({ length: count }, (_, index) => route(index));

function start(kernel = new FakeKernel()): { host: Host; kernel: FakeKernel; reaped: string[] } {
  const reaped: string[] = [];
  kernel.addForeign('eth0');
  const brake = { share: 0.5, minimum: 10 };
  const reap = (names: string[]): void => void reaped.push(...names);
  return { host: new Host({ kernel, brake, log, nudge: () => {}, reap }), kernel, reaped };
}
const inKernel = (kernel: FakeKernel): number =>
  [...kernel.observe({ sysctls: [], foreignLinks: [] }).values()].filter(({ kind }) => kind === 'route')
    .length;

test('the brake holds removals back, not additions, until the operator agrees', async () => {
  const { host, kernel } = start();
  host.set('all', routes(20));
  host.allowRemovals();
  await host.pass();
  assert.equal(inKernel(kernel), 20);
  host.set('all', [route(100), ...routes(5)]);
  await host.pass();
  assert.equal(inKernel(kernel), 21);
  assert.deepEqual(host.braked, { removals: 15, of: 20 });
  await host.pass();
  assert.equal(inKernel(kernel), 21, 'it holds');
  host.release();
  await host.pass();
  assert.equal(inKernel(kernel), 6);
  assert.equal(host.braked, undefined);
});

test('few removals pass the brake, and so does a small share', async () => {
  const { host, kernel } = start();
  host.set('all', routes(9));
  host.allowRemovals();
  await host.pass();
  host.set('all', undefined);
  await host.pass();
  assert.equal(inKernel(kernel), 0);
  host.set('all', routes(30));
  await host.pass();
  host.set('all', routes(16));
  await host.pass();
  assert.equal(inKernel(kernel), 16);
});

test('routes beside an isolated bridge go without the brake', async () => {
  const { host, kernel } = start();
  const beside = routes(20).map((each) => ({ ...each, table: PORT_RULE.table }));
  host.set('pods', beside);
  host.set('all', routes(1));
  host.allowRemovals();
  await host.pass();
  host.set('pods', undefined);
  await host.pass();
  assert.equal(inKernel(kernel), 1);
  assert.equal(host.braked, undefined);
});

test('a paused host does nothing until it is released', async () => {
  const { host, kernel } = start();
  host.paused = true;
  host.set('all', routes(3));
  assert.equal(await host.pass(), 'ok');
  assert.equal(inKernel(kernel), 0);
  host.release();
  await host.pass();
  assert.equal(inKernel(kernel), 3);
});

test('pods’ links that nobody claims are reaped once removals are allowed, and claimed ones stay', async () => {
  const { host, kernel, reaped } = start();
  const pair = { podName: 'eth0', podMac: mac('02:00:00:00:00:01'), mtu: 1500 };
  kernel.createPair({ ...pair, hostName: 'ttstray', netns: 1 });
  kernel.createPair({ ...pair, hostName: 'ttmine', netns: 2 });
  host.set('pod/x', [{ kind: 'link', type: 'veth', name: 'ttmine', mtu: 1500 }]);
  await host.pass();
  assert.deepEqual(reaped, [], 'not before every source has spoken');
  host.allowRemovals();
  await host.pass();
  assert.deepEqual(reaped, ['ttstray']);
});

test('accepts in others’ chains come with a drop and go with it; unknown is not gone', () => {
  const text = 'apiVersion: tartan.dev/v1\nkind: Settings\nprofile: flannel\nnode: {name: n0}\n';
  const { settings } = parseSettings([{ origin: 'test', text }], { flannel: FLANNEL });
  const { host, kernel } = start();
  const events = new Events(log);
  let broken = false;
  const filterChains = (): ReturnType<FakeKernel['filterChains']> => {
    if (broken) throw new Error('no libnftables');
    return kernel.filterChains();
  };
  const foreign = new Foreign({
    settings,
    host,
    cluster: { self: undefined },
    kernel: { filterChains },
    events,
  });
  const chains = (): string[] =>
    [...(host.itemsOf('foreign')?.values() ?? [])].flatMap((item) =>
      item.kind === 'foreign-rule' ? [item.chain] : [],
    );
  const chain = { hook: 'forward', family: 'ip', table: 'filter', chain: 'FORWARD' } as const;
  kernel.setFilterChains([{ ...chain, policy: 'drop', userChain: 'DOCKER-USER' }]);
  foreign.refresh();
  assert.ok(chains().length > 0 && chains().every((name) => name === 'DOCKER-USER'));
  broken = true;
  foreign.refresh();
  assert.ok(chains().length > 0);
  broken = false;
  kernel.setFilterChains([{ ...chain, policy: 'accept' }]);
  foreign.refresh();
  assert.deepEqual(chains(), []);
  assert.equal(events.list().length, 2);
});

test('a link is told down while it is being made; only later does that mean that it went down', async () => {
  const kernel = new FakeKernel();
  let looks = 0;
  const observe = kernel.observe.bind(kernel);
  kernel.observe = (interest) => {
    looks += 1;
    return observe(interest);
  };
  const { host } = start(kernel);
  const link = { kind: 'link', type: 'bridge', name: 'cni0', mtu: 1450 } as const;
  const event = (seen: LinkItem): void => host.onChange({ type: 'item', key: 'link cni0', seen });
  host.set('node', [link]);
  await host.pass();
  assert.equal(looks, 1);
  event({ ...link, down: true });
  event({ ...link, down: true });
  await host.pass();
  assert.equal(looks, 1, 'the echo of its making');
  assert.deepEqual(host.openKeys('node'), []);
  event(link);
  event({ ...link, down: true });
  assert.deepEqual(host.openKeys('node'), ['link cni0']);
  await host.pass();
  assert.equal(looks, 2, 'everything on it may have gone with it');
});
