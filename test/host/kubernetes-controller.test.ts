/**
 * A controller of a cluster of Kubernetes, with a real API server and the rights that `tartan install` grants: definitions, its
 * Lease, nodes that Kubernetes has deleted, and an API server that goes away.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type AccessRule, CONTROLLER_RULES, LEADER_RULES } from '../../src/deploy/access.ts';
import type { Block } from '../../src/model/block.ts';
import type { ClusterStatus } from '../../src/model/cluster-status.ts';
import type { Lease } from '../../src/model/lease.ts';
import type { NodeAdvert } from '../../src/model/world.ts';
import { type KubernetesStore, openKubernetesStore } from '../../src/stores/kubernetes/kubernetes.ts';
import { type ApiServer, noApiServer, startApiServer } from '../kubernetes/api-server.ts';
import type { Daemon } from '../runtimes/daemon.ts';
import { type Controllers, noProgram, openControllers } from './controllers.ts';
import { waitFor } from './namespace.ts';

const skip = noApiServer ?? noProgram;
const WAIT_MS = 90_000;
const DEFINITION = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions/blocks.tartan.dev';

let server: ApiServer;
let store: KubernetesStore;
let controllers: Controllers;
let controller: Daemon;
const directory = mkdtempSync(join(tmpdir(), 'kc-'));
const stop = new AbortController();

async function apply(...items: object[]): Promise<void> {
  const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
  const { code, stderr } = await server.kubectl(['apply', '-f', '-'], { input });
  assert.equal(code, 0, stderr);
}

const node = (name: string): object => ({ apiVersion: 'v1', kind: 'Node', metadata: { name } });

/** The controller is a user here, not a pod with a service account. */
function grants(): object[] {
  const group = 'rbac.authorization.k8s.io';
  const apiVersion = `${group}/v1`;
  const subjects = [{ kind: 'User', name: 'controller', apiGroup: group }];
  const metadata = { name: 'kc' };
  const within = { name: 'kc', namespace: 'kube-system' };
  const withoutWhy = (rules: readonly object[]): object[] =>
    rules.map((rule) => ({ ...rule, why: undefined }));
  return [
    { apiVersion, kind: 'ClusterRole', metadata, rules: withoutWhy(CONTROLLER_RULES) },
    {
      apiVersion,
      kind: 'ClusterRoleBinding',
      metadata,
      subjects,
      roleRef: { apiGroup: group, kind: 'ClusterRole', name: 'kc' },
    },
    { apiVersion, kind: 'Role', metadata: within, rules: withoutWhy(LEADER_RULES) },
    {
      apiVersion,
      kind: 'RoleBinding',
      metadata: within,
      subjects,
      roleRef: { apiGroup: group, kind: 'Role', name: 'kc' },
    },
  ];
}

function start(name: string): Daemon {
  const kubernetes = { kubeconfig: server.kubeconfig('controller'), requestTimeoutSeconds: 5 };
  return controllers.start(name, { type: 'kubernetes', kubernetes });
}

async function lease(): Promise<Lease | undefined> {
  const { status, body } = await server.ask(
    '/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/tartan-controller',
  );
  return status === 200 ? (body['spec'] as Lease) : undefined;
}

type KubernetesEvents = {
  readonly items: readonly { involvedObject: { kind: string; name: string }; message: string }[];
};

async function waitForEvent(kind: string, name: string, message: RegExp): Promise<void> {
  await waitFor(
    `an Event of ${kind} ${name}`,
    async () => {
      const { body } = await server.ask('/api/v1/namespaces/default/events');
      return (body as unknown as KubernetesEvents).items.some(
        ({ involvedObject: about, message: text }) =>
          about.kind === kind && about.name === name && message.test(text),
      );
    },
    WAIT_MS,
  );
}

if (skip === undefined) {
  before(async () => {
    server = await startApiServer({ users: { controller: { name: 'controller' } }, audit: true });
    store = openKubernetesStore({ settings: { kubeconfig: server.kubeconfig(), requestTimeoutSeconds: 5 } });
    controllers = openControllers(directory, { answerSeconds: 10 });
    // Namespaces are made by the API server itself, a moment after its start.
    await waitFor(
      'kube-system',
      async () => (await server.ask('/api/v1/namespaces/kube-system')).status === 200,
      WAIT_MS,
    );
    await apply(...grants(), node('here'));
    controller = start('first');
  });
  after(async () => {
    stop.abort();
    store.close();
    await controllers[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  });
}

const advert = (name: string): NodeAdvert => ({
  name,
  addresses: {},
  subnets: {},
  road: 'vxlan',
  mtu: 1500,
  ready: true,
});

test(
  'a leader makes the kinds of the store known, and tells the state of the cluster',
  { skip },
  async () => {
    await waitFor('the definitions', async () => (await server.ask(DEFINITION)).status === 200, WAIT_MS);
    await waitFor(
      'the state of the cluster',
      async () => (await store.get('ClusterStatus', 'cluster').catch(() => undefined)) !== undefined,
      WAIT_MS,
    );
    const found = await lease();
    assert.match(controller.log(), new RegExp(`"node":"${found?.holderIdentity}"`));
    assert.equal(found?.leaseDurationSeconds, 5);
    const { stdout } = await server.kubectl(['get', 'lease', '-n', 'kube-system', 'tartan-controller']);
    assert.match(stdout, /tartan-controller +\S+_\S+/);
  },
);

test('a node that Kubernetes has deleted loses what it had, unless it answers', { skip }, async () => {
  for (const name of ['here', 'gone', 'deleted']) await store.put('Node', name, advert(name));
  await store.put('SubnetClaim', '10.77.9.0-24', { node: 'gone', subnet: '10.77.9.0/24', reserved: false });
  const held = { numbers: '1-2', term: 1 };
  for (const [name, free, holders] of [
    ['10.77.64.0-26', '3-63', { gone: held }],
    ['10.77.64.64-26', '3,4,6-63', { gone: held, here: { numbers: '5', term: 1 } }],
  ] as const)
    await store.put('Block', name, { prefix: name.replace(/-26$/, '/26'), free, holders });
  await store.put('Workloads', 'forgotten', { node: 'forgotten', pods: [] });
  let answers = 0;
  // As an agent would: whatever is not as it wrote it is written again.
  void (async () => {
    for (; !stop.signal.aborted; await sleep(200)) {
      const present = await store.get('Node', 'deleted').catch(() => undefined);
      if ((present?.value as NodeAdvert | undefined)?.questioned === undefined) continue;
      answers += 1;
      await store.put('Node', 'deleted', advert('deleted')).catch(() => undefined);
    }
  })();
  await waitFor('the advert to go', async () => (await store.get('Node', 'gone')) === undefined, WAIT_MS);
  await waitFor('a second question', () => answers > 1, WAIT_MS);
  await waitFor(
    'the claim to go',
    async () => (await store.get('SubnetClaim', '10.77.9.0-24')) === undefined,
    WAIT_MS,
  );
  const isTaken = async (): Promise<boolean> => {
    const left = await store.get('Block', '10.77.64.64-26');
    const holders = Object.keys((left?.value as Block | undefined)?.holders ?? {});
    return holders.join() === 'here' && (await store.get('Block', '10.77.64.0-26')) === undefined;
  };
  await waitFor('the blocks to be taken back', isTaken, WAIT_MS);
  await waitFor(
    'the pods to go',
    async () => (await store.get('Workloads', 'forgotten')) === undefined,
    WAIT_MS,
  );
  await waitForEvent('Node', 'gone', /does not answer: its advert is removed/);
  assert.deepEqual((await store.list('Node')).map(({ name }) => name).toSorted(), ['deleted', 'here']);
});

test('the brake holds until an operator says that so many nodes are gone', { skip }, async () => {
  // It answers, and would be counted now and then.
  await apply(node('deleted'));
  const names = Array.from({ length: 7 }, (_, index) => `many${index}`);
  for (const name of names) await store.put('Node', name, advert(name));
  const status = async (): Promise<ClusterStatus> =>
    (await store.get('ClusterStatus', 'cluster'))?.value as ClusterStatus;
  await waitFor('the brake', async () => (await status()).gone === 7, WAIT_MS);
  await waitForEvent('ClusterStatus', 'cluster', /^[67] of 9 nodes are not in Kubernetes any more/);
  const described = await server.kubectl(['describe', 'clusterstatus', 'cluster']);
  assert.match(described.stdout, /TartanError .* [67] of 9 nodes/, 'kubectl finds it by the object’s uid');
  assert.equal((await store.list('Node')).length, 9);
  const resumed = await controllers.tartan('first', 'resume', '--cluster');
  assert.match(resumed.stdout, /^the controller goes on: 7 of 9/, resumed.stderr);
  await waitFor('them to go', async () => (await store.list('Node')).length === 2, WAIT_MS);
  const { braked, gone, believed } = await status();
  assert.deepEqual([braked, gone, believed], [undefined, undefined, undefined]);
  const again = await controllers.tartan('first', 'resume', '--cluster');
  assert.match(again.stderr, /the controller’s brake does not hold/);
});

/** An API server that has just started refuses what it has not read the grants of. */
test('what it asked for was granted', { skip }, () => {
  const refused = server
    .audited()
    .filter(({ user, responseStatus }) => user.username === 'controller' && responseStatus?.code === 403)
    .map(({ verb, requestURI }) => `${verb} ${requestURI}`);
  assert.deepEqual([...new Set(refused)], []);
});

/** Calico is not here; a patch that creates is one in the log, and asked for as both. */
const SPARED = /projectcalico\.org$|^create events\.$/;

type Rule = Pick<AccessRule, 'apiGroups' | 'resources' | 'verbs'>;
const rightsOf = (rules: readonly Rule[]): string[] =>
  rules.flatMap(({ apiGroups, resources, verbs }) =>
    apiGroups.flatMap((group) =>
      resources.flatMap((resource) => verbs.map((verb) => `${verb} ${resource}.${group}`)),
    ),
  );

test(
  'an API server that is away: nobody leads meanwhile, and nothing is taken back for it',
  { skip },
  async () => {
    const before = controller.log().split('does not lead any more').length;
    await server.kill();
    await waitFor(
      'the leader to stop',
      () => controller.log().split('does not lead any more').length > before,
      WAIT_MS,
    );
    await server.start();
    const leads = controller.log().split('leads now').length;
    await waitFor('it to lead again', () => controller.log().split('leads now').length >= leads, WAIT_MS);
    await store.put('Node', 'here', { ...advert('here'), ready: false });
    await waitFor(
      'it to act again',
      async () => {
        const { value } = (await store.get('ClusterStatus', 'cluster')) ?? {};
        return (value as ClusterStatus | undefined)?.nodes.notReady.join() === 'here';
      },
      WAIT_MS,
    );
    assert.deepEqual((await store.list('Node')).map(({ name }) => name).toSorted(), ['deleted', 'here']);
    await waitForEvent('ClusterStatus', 'cluster', /the controller does not lead any more/);
  },
);

test(
  'the next leader brings a definition up to date, and never back to an older release',
  { skip },
  async () => {
    const annotate = async (annotations: Record<string, string>, singular: string): Promise<void> => {
      const body = { metadata: { annotations }, spec: { names: { shortNames: [singular] } } };
      assert.equal((await server.ask(DEFINITION, { method: 'PATCH', body })).status, 200);
    };
    const shortNames = async (): Promise<unknown> =>
      ((await server.ask(DEFINITION)).body['spec'] as { names: { shortNames: unknown } }).names.shortNames;
    await annotate({ 'tartan.dev/version': '99.0.0', 'tartan.dev/digest': 'other' }, 'newer');
    await controller.stop('SIGTERM');
    assert.equal((await lease())?.holderIdentity, '', 'it gave the lease up');
    controller = start('second');
    await waitFor('the next to lead', async () => ((await lease())?.holderIdentity ?? '') !== '', WAIT_MS);
    await store.put('Node', 'here', advert('here'));
    await waitFor(
      'it to act',
      async () => {
        const { value } = (await store.get('ClusterStatus', 'cluster')) ?? {};
        return (value as ClusterStatus | undefined)?.controller === (await lease())?.holderIdentity;
      },
      WAIT_MS,
    );
    assert.deepEqual(await shortNames(), ['newer']);
    await annotate({ 'tartan.dev/version': '0.0.1', 'tartan.dev/digest': 'other' }, 'older');
    await controller.stop('SIGTERM');
    controller = start('third');
    await waitFor('the definition to be ours', async () => String(await shortNames()) === 'tbl', WAIT_MS);
  },
);

test('every right is used', { skip }, async () => {
  // What was watched is in the log when it ends.
  await controller.stop('SIGTERM');
  const spared = (): string[] => {
    const ours = server.audited().filter(({ user }) => user.username === 'controller');
    const used = new Set(
      ours.map(({ verb, objectRef }) => `${verb} ${objectRef?.resource}.${objectRef?.apiGroup ?? ''}`),
    );
    const rights = rightsOf([...CONTROLLER_RULES, ...LEADER_RULES]);
    return rights.filter((right) => !used.has(right) && !SPARED.test(right));
  };
  await waitFor('the log', () => spared().length === 0, 20_000).catch(() => undefined);
  assert.deepEqual(spared(), []);
});
