import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NodeObjects } from './node-objects.ts';
import { settings } from '#backends/testing/nodes.ts';
import { Complaints } from '#lib/complaints.ts';
import { systemClock } from '#lib/clock.ts';
import { Events } from '#lib/log.ts';
import type { Settings } from '#model/settings.ts';
import { manifestOf } from '#model/manifest.ts';
import { Feeds } from '#stores/feed.ts';
import type { Store, StoreEvent, Version } from '#stores/store.ts';

const quiet = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
const told = (name: string): string => `flannel.alpha.coreos.com/${name}`;
const FLANNEL = {
  [told('kube-subnet-manager')]: 'true',
  [told('backend-type')]: 'vxlan',
  [told('backend-data')]: '{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}',
  [told('public-ip')]: '192.0.2.7',
};

/** What a watch of an API server tells. */
class Watched {
  readonly #waiting: ((event: StoreEvent) => void)[] = [];
  readonly #events: StoreEvent[] = [];
  #versions = 0;
  readonly asked: (string | undefined)[] = [];

  tell(event: StoreEvent): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#events.push(event);
    else next(event);
  }
  put(name: string, podCIDR: string, annotations: object = {}): void {
    const value = { apiVersion: 'v1', kind: 'Node', metadata: { name, annotations }, spec: { podCIDR } };
    const version = String((this.#versions += 1)) as Version;
    const whole = { kind: 'Manifest', name: `v1/Node/${name}`, value: manifestOf('api', value) } as const;
    this.tell({ type: 'put', object: { ...whole, version, origin: 'api' } });
  }
  async *events(): AsyncGenerator<StoreEvent> {
    for (;;)
      yield this.#events.shift() ?? (await new Promise<StoreEvent>((resolve) => this.#waiting.push(resolve)));
  }
}

async function turn(): Promise<void> {
  for (let round = 0; round < 20; round += 1) await new Promise((resolve) => setImmediate(resolve));
}

function open(more: Partial<Settings>) {
  const watched = new Watched();
  const stop = new AbortController();
  const events = new Events(quiet);
  const store = {
    watch: (_kind: string, _signal: AbortSignal, { only }: { only?: string } = {}) => {
      watched.asked.push(only);
      return watched.events();
    },
  } as unknown as Store;
  const common = { store, clock: systemClock, log: quiet, signal: stop.signal };
  const feeds = new Feeds({ ...common, onMalformed: () => {} });
  const complaints = new Complaints(events, systemClock, stop.signal);
  const heard: string[] = [];
  const whole: Settings = { ...settings('vxlan'), ...more };
  const nodes = new NodeObjects({
    parts: { settings: whole, feeds, complaints },
    onChange: () => heard.push('change'),
    onPeer: (name, advert) => heard.push(`${name} ${advert?.addresses[4] ?? 'gone'}`),
  });
  return { nodes, watched, heard, events, stop };
}

const KUBERNETES = { store: { type: 'kubernetes', kubernetes: { requestTimeoutSeconds: 5 } } } as const;

test('nodes where flannel runs are peers until it does no more; what is wrong with one is told once', async () => {
  const { nodes, watched, heard, events, stop } = open(KUBERNETES);
  watched.put('a', '10.244.1.0/24');
  watched.put('b', '10.244.2.0/24', FLANNEL);
  watched.tell({ type: 'synced' });
  await turn();
  assert.deepEqual(watched.asked, ['v1/Node']);
  assert.equal(nodes.peer('b')?.vxlan?.mac[4], 'c6:d2:32:6f:8f:44');
  assert.equal(nodes.peer('a'), undefined, 'this node is no peer of its own');
  heard.length = 0;
  watched.put('b', '10.244.2.0/24', { ...FLANNEL, 'example.org/other': '1' });
  await turn();
  assert.deepEqual(heard, [], 'what says nothing new is not told');
  for (let round = 0; round < 3; round += 1)
    watched.put('b', '10.244.2.0/24', { ...FLANNEL, [told('backend-data')]: '$(reboot)' });
  await turn();
  assert.deepEqual(heard, ['b gone']);
  assert.equal(events.list().length, 1);
  assert.match(events.list()[0]?.text ?? '', /^Node b .*backend-data: must be/);
  watched.put('b', '10.244.2.0/24', FLANNEL);
  watched.tell({ type: 'removed', name: 'v1/Node/b' });
  await turn();
  assert.deepEqual(heard, ['b gone', 'b 192.0.2.7', 'b gone', 'change']);
  stop.abort();
});

test('this node’s object, and whose subnets Kubernetes gave', async () => {
  const { addresses } = settings('vxlan');
  const { nodes, watched, heard, stop } = open({ addresses: { ...addresses, type: 'node-cidr' } });
  watched.put('a', '10.244.1.0/24', { [told('public-ip-overwrite')]: '203.0.113.9' });
  watched.put('b', '10.244.2.0/24', FLANNEL);
  watched.tell({ type: 'synced' });
  await turn();
  assert.deepEqual(nodes.claims(), [
    { node: 'a', subnet: '10.244.1.0/24', reserved: true },
    { node: 'b', subnet: '10.244.2.0/24', reserved: true },
  ]);
  assert.deepEqual(nodes.overwritten(), { 4: '203.0.113.9' });
  assert.equal(nodes.peer('b'), undefined, 'on another store flannel’s annotations are nobody’s');
  heard.length = 0;
  watched.put('a', '10.244.1.0/24', { [told('public-ip-overwrite')]: '203.0.113.9' });
  watched.put('b', '10.244.2.0/24');
  await turn();
  assert.deepEqual(heard, []);
  watched.put('b', '10.244.3.0/24');
  watched.put('a', '10.244.1.0/24');
  await turn();
  assert.deepEqual([heard, nodes.overwritten()], [['change', 'change'], {}]);
  stop.abort();
});

test('who needs neither asks for no Node', () => {
  const { nodes, watched, stop } = open({});
  assert.deepEqual([watched.asked, nodes.synced, nodes.claims()], [[], true, []]);
  stop.abort();
});
