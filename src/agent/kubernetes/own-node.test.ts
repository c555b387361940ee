import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OwnNode } from './own-node.ts';
import { settings } from '#backends/testing/nodes.ts';
import { systemClock } from '#lib/clock.ts';
import { Events } from '#lib/log.ts';
import { mac } from '#net/mac.ts';
import { address } from '#net/address.ts';
import { prefix } from '#net/prefix.ts';
import type { NodeAdvert } from '#model/world.ts';
import type { NodeApi, NodeCondition, NodeObject, Taint } from '#stores/kubernetes/node-object.ts';

const quiet = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
const ADVERT: NodeAdvert = {
  name: 'a',
  addresses: { 4: address('192.0.2.1') },
  subnets: { 4: prefix('10.244.1.0/24') },
  road: 'vxlan',
  vxlan: { vni: 1, port: 8472, mac: { 4: mac('02:00:00:00:00:01') } },
  mtu: 1500,
  ready: true,
};
const STARTUP = { key: 'tartan.dev/agent-not-ready', effect: 'NoSchedule' };
const OTHER = { key: 'example.org/gpu', effect: 'NoSchedule' };

/** An API server as far as one node goes, and who writes what to it. */
class Api implements NodeApi {
  isThere = true;
  conflicts = 0;
  annotations: Record<string, string> = { 'example.org/rack': '7' };
  applied: string[] = [];
  taints: Taint[] = [OTHER, STARTUP];
  conditions: NodeCondition[] = [];
  readonly writes: string[] = [];

  get(): Promise<NodeObject | undefined> {
    const { annotations, taints, conditions, applied } = this;
    const fields = Object.fromEntries(applied.map((key) => [`f:${key}`, {}]));
    const managedFields = [
      { manager: 'tartan-node', fieldsV1: { 'f:metadata': { 'f:annotations': fields } } },
    ];
    const metadata = { name: 'a', annotations: { ...annotations }, managedFields };
    const node = { metadata, spec: { taints: [...taints] }, status: { conditions: [...conditions] } };
    return Promise.resolve(this.isThere ? node : undefined);
  }
  annotate(annotations: Readonly<Record<string, string>>): Promise<void> {
    this.writes.push(`annotate ${Object.keys(annotations).length}`);
    for (const key of this.applied) delete this.annotations[key];
    Object.assign(this.annotations, annotations);
    this.applied = Object.keys(annotations);
    return Promise.resolve();
  }
  setCondition(condition: NodeCondition): Promise<void> {
    this.writes.push(`condition ${condition.status} ${condition.reason}`);
    this.conditions = [...this.conditions.filter(({ type }) => type !== condition.type), condition];
    return Promise.resolve();
  }
  removeTaint(_: NodeObject, key: string): Promise<boolean> {
    this.writes.push(`untaint ${key}`);
    if ((this.conflicts -= 1) >= 0) return Promise.resolve(false);
    this.taints = this.taints.filter((taint) => taint.key !== key);
    return Promise.resolve(true);
  }
  sendEvent(): Promise<void> {
    return Promise.reject(new Error('not asked for'));
  }
}

async function until(what: string, isSo: () => boolean): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!isSo()) {
    assert.ok(Date.now() < deadline, `not in time: ${what}`);
    await systemClock.sleep(5);
  }
}

type Node = {
  api: Api;
  node: OwnNode;
  state: { ready: boolean; advert: NodeAdvert | undefined };
  events: Events;
};

async function run(api: Api, work: (node: Node) => Promise<void>): Promise<void> {
  const controller = new AbortController();
  const events = new Events(quiet);
  const state: Node['state'] = { ready: false, advert: undefined };
  const parts = {
    settings: settings('vxlan'),
    clock: systemClock,
    signal: controller.signal,
    log: quiet,
    events,
  };
  const node = new OwnNode({ parts, api, isReady: () => state.ready, advert: () => state.advert });
  try {
    await work({ api, node, state, events });
  } finally {
    controller.abort();
    await node.stopped;
  }
}

/** Passes have been made, by what they would have changed. */
async function rest(): Promise<void> {
  await systemClock.sleep(200);
}

test('ready: the condition is set and the taint taken off, once; a restart writes nothing', async () => {
  const api = new Api();
  await run(api, async ({ node, state }) => {
    await rest();
    assert.deepEqual(api.writes, [], 'nothing before there is something to say');
    state.advert = ADVERT;
    node.nudge();
    await until('flannel’s nodes are told', () => api.writes.length === 1);
    assert.equal(api.annotations['flannel.alpha.coreos.com/public-ip'], '192.0.2.1');
    api.conflicts = 1;
    state.ready = true;
    node.nudge();
    await until('the taint is off', () => api.taints.length === 1);
    const untaint = 'untaint tartan.dev/agent-not-ready';
    assert.deepEqual(api.writes, ['annotate 4', 'condition False TartanIsUp', untaint, untaint]);
    assert.deepEqual(api.taints, [OTHER]);
  });
  const written = api.writes.length;
  await run(api, async ({ node, state }) => {
    await rest();
    Object.assign(state, { ready: true, advert: ADVERT });
    node.nudge();
    await rest();
    assert.equal(api.writes.length, written, 'not when the agent starts, nor when it is ready again');
    assert.equal(api.annotations['example.org/rack'], '7');
  });
});

test('a road that flannel does not have: its annotations go again', async () => {
  const api = new Api();
  await run(api, async ({ node, state }) => {
    state.advert = ADVERT;
    node.nudge();
    await until('told', () => api.applied.length === 4);
    state.advert = { ...ADVERT, road: 'gre' };
    node.nudge();
    await until('taken back', () => api.applied.length === 0);
    assert.deepEqual(api.annotations, { 'example.org/rack': '7' });
  });
});

test('Tartan leaves: the network is unavailable, and nothing is written any more', async () => {
  const api = new Api();
  await run(api, async ({ node, state }) => {
    Object.assign(state, { ready: true, advert: ADVERT });
    node.nudge();
    await until('the taint is off', () => api.taints.length === 1);
    assert.deepEqual(await node.leave(), [
      'Node a: NetworkUnavailable is True',
      'Node a: flannel’s annotations are gone',
    ]);
    node.nudge();
    await rest();
    assert.deepEqual(await node.leave(), []);
    assert.equal(api.conditions[0]?.status, 'True');
  });
});

test('a name that Kubernetes does not know is an error, told once, until it does', async () => {
  const api = new Api();
  api.isThere = false;
  await run(api, async ({ node, state, events }) => {
    Object.assign(state, { ready: true, advert: ADVERT });
    node.nudge();
    await until('it is missed', () => node.isMissing);
    await rest();
    const errors = events.list().filter(({ severity }) => severity === 'error');
    assert.equal(errors.length, 1);
    assert.match(errors[0]?.text ?? '', /Kubernetes has no Node a/);
    api.isThere = true;
    await until('it is there', () => !node.isMissing);
  });
});
