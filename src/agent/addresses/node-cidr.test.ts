import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { NodeCidrs } from './node-cidr.ts';
import { readNodeFile } from '../node-file.ts';
import { parseSettings } from '#config/parse.ts';
import { Events } from '#lib/log.ts';
import type { Prefix } from '#net/prefix.ts';

const quiet = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

class Place {
  node: unknown;
  inUse = new Set<string>();
  readonly events = new Events(quiet);
  readonly state = mkdtempSync(join(tmpdir(), 'tartan-cidr-'));
  readonly cidrs: NodeCidrs;

  constructor(t: TestContext, state?: string) {
    if (state === undefined) t.after(() => rmSync(this.state, { recursive: true }));
    const text = [
      'apiVersion: tartan.dev/v1\nkind: Settings\nprofile: p\nnode: {name: n1}',
      'network: {ipv4: {range: 10.244.0.0/16}, ipv6: {range: fd00:10::/48}}',
      'addresses: {type: node-cidr}',
      `paths: {state: ${state ?? this.state}}`,
    ].join('\n');
    const { settings } = parseSettings([{ origin: 'test', text }], { p: '' });
    this.cidrs = new NodeCidrs({
      settings,
      events: this.events,
      node: () => this.node,
      onHeld: () => {},
      inUse: (subnet: Prefix) => this.inUse.has(subnet),
    });
  }
  async give(...podCIDRs: string[]): Promise<boolean> {
    this.node = { spec: { podCIDRs } };
    return this.cidrs.maintain();
  }
  get errors(): string[] {
    return this.events.list().flatMap(({ severity, text }) => (severity === 'error' ? text : []));
  }
}

const FIRST = ['10.244.1.0/24', 'fd00:10:0:1::/64'] as const;
const HELD = { 4: FIRST[0], 6: FIRST[1] };

test('a node waits for its podCIDRs, of every family that the cluster has, and says so', async (t) => {
  const place = new Place(t);
  await place.cidrs.maintain();
  assert.deepEqual(place.cidrs.problems(), [
    'there is no Node n1 in the store: node.name must be what Kubernetes calls this node',
  ]);
  await place.give(FIRST[0]);
  assert.deepEqual(place.cidrs.problems(), ['Node n1: it has no IPv6 podCIDR yet']);
  assert.deepEqual(place.cidrs.held, {});
  assert.equal(await place.give(...FIRST), true);
  assert.deepEqual([place.cidrs.held, place.cidrs.problems()], [HELD, []]);
  assert.deepEqual(readNodeFile(place.state), HELD);
  assert.equal(await place.give(...FIRST), false);
});

test('other podCIDRs are taken when no pod lives in the old ones', async (t) => {
  const place = new Place(t);
  await place.give(...FIRST);
  await place.give('10.244.2.0/24', FIRST[1]);
  assert.deepEqual(place.cidrs.held, { 4: '10.244.2.0/24', 6: FIRST[1] });
  assert.deepEqual(place.errors, []);
});

test('while pods live in the old ones they stay, over a restart too; it is told once', async (t) => {
  const place = new Place(t);
  await place.give(...FIRST);
  place.inUse.add(FIRST[0]);
  const again = new Place(t, place.state);
  again.inUse.add(FIRST[0]);
  const others = ['10.244.2.0/24', 'fd00:10:0:2::/64'] as const;
  for (const one of [place, again]) {
    await one.give(...others);
    await one.give(...others);
    assert.deepEqual(one.cidrs.held, { 4: FIRST[0], 6: others[1] });
    assert.deepEqual(one.errors, [
      'Node n1 has the podCIDR 10.244.2.0/24 now, but pods live in 10.244.1.0/24; new pods are refused',
    ]);
    assert.match(one.cidrs.problems().join(), /it is taken once they are gone/);
    one.inUse.clear();
    await one.give(...others);
    assert.deepEqual([one.cidrs.held, one.cidrs.problems()], [{ 4: others[0], 6: others[1] }, []]);
  }
  rmSync(again.state, { recursive: true });
});

test('a Node that is gone takes no subnet away in which pods live', async (t) => {
  const place = new Place(t);
  await place.give(...FIRST);
  place.inUse.add(FIRST[0]);
  place.node = undefined;
  await place.cidrs.maintain();
  assert.deepEqual(place.cidrs.held, { 4: FIRST[0] });
  assert.equal(place.cidrs.problems().length, 1);
});
