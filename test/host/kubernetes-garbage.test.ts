/**
 * Pods whose namespace is gone and whose DEL never comes, on a node of a cluster of Kubernetes: real namespaces, a real API server
 * and the rights that `tartan install` grants. An address comes back when kernel and API server agree, and never before.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { AGENT_RULES } from '../../src/deploy/access.ts';
import { customResourceDefinitions } from '../../src/deploy/crds.ts';
import { type ApiServer, noApiServer, startApiServer } from '../kubernetes/api-server.ts';
import { makeNamespace, type Namespace, waitFor, whyNoKernel } from './namespace.ts';
import { makeUnderlay, type Node, startNode, type Underlay, whyNoTartan } from './node.ts';

const skip = noApiServer ?? whyNoKernel(['ip']) ?? whyNoTartan() ?? false;
const GARBAGE_SECONDS = 2;
/** Longer than an agent waits between two tries of an API server that was away. */
const WAIT_MS = 120_000;
const CONFIG = { cniVersion: '1.1.0', name: 'tartan', type: 'tartan-cni' };

let underlay: Underlay;
let server: ApiServer;
let node: Node;
const spaces = new Map<string, Namespace>();

async function apply(...items: object[]): Promise<void> {
  const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
  const { code, stderr } = await server.kubectl(['apply', '-f', '-'], { input });
  assert.equal(code, 0, stderr);
}

async function kubectl(...words: string[]): Promise<string> {
  const { code, stdout, stderr } = await server.kubectl(words);
  assert.equal(code, 0, stderr);
  return stdout;
}

const podObject = (name: string): object => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace: 'default' },
  spec: { nodeName: 'kg1', containers: [{ name: 'main', image: 'none' }] },
});

if (skip === false) {
  before(async () => {
    underlay = await makeUnderlay('kg');
    const place = { netns: underlay.netns, address: '172.30.0.254' };
    server = await startApiServer({ place, users: { agent: { name: 'agent' } } });
    const rbac = 'rbac.authorization.k8s.io';
    const rules = AGENT_RULES.map(({ apiGroups, resources, verbs }) => ({ apiGroups, resources, verbs }));
    await apply(
      { apiVersion: `${rbac}/v1`, kind: 'ClusterRole', metadata: { name: 'agent' }, rules },
      {
        apiVersion: `${rbac}/v1`,
        kind: 'ClusterRoleBinding',
        metadata: { name: 'agent' },
        roleRef: { apiGroup: rbac, kind: 'ClusterRole', name: 'agent' },
        subjects: [{ apiGroup: rbac, kind: 'User', name: 'agent' }],
      },
      ...customResourceDefinitions({ expressions: false }),
      {
        apiVersion: 'v1',
        kind: 'Node',
        metadata: { name: 'kg1' },
        spec: { podCIDR: '10.244.1.0/24', podCIDRs: ['10.244.1.0/24'] },
      },
    );
    const kubeconfig = server.kubeconfig('agent');
    const settings = {
      profile: 'canal',
      addresses: { type: 'node-cidr', quarantineSeconds: 0 },
      kubernetes: { garbageSeconds: GARBAGE_SECONDS },
      store: { type: 'kubernetes', kubernetes: { kubeconfig, requestTimeoutSeconds: 2 } },
    };
    node = await startNode('kg1', settings, { underlay, index: 1 });
  });
  after(async () => {
    await node?.stop();
    for (const netns of spaces.values()) netns.remove();
    await server?.[Symbol.asyncDispose]();
    underlay?.remove();
  });
}

async function addPod(name: string): Promise<void> {
  await apply(podObject(name));
  const uid = await kubectl('get', 'pod', name, '-o', 'jsonpath={.metadata.uid}');
  const netns = makeNamespace(`kg-${name}`);
  spaces.set(name, netns);
  const args = `IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=${name};K8S_POD_UID=${uid}`;
  const environment = { CNI_CONTAINERID: name, CNI_NETNS: netns.path, CNI_IFNAME: 'eth0', CNI_ARGS: args };
  const { code, stdout } = await node.cni('ADD', environment, CONFIG);
  assert.equal(code, 0, `${stdout}\n${node.log()}`);
}

/** As when a node's runtime has lost its state: nobody sends DEL. */
function vanish(name: string): void {
  spaces.get(name)?.remove();
  spaces.delete(name);
}

async function attached(): Promise<string[]> {
  const { stdout, stderr } = await node.run(['get', 'pods', '-o', 'json']);
  const pods = JSON.parse(stdout || assert.fail(stderr)) as readonly { readonly containerId: string }[];
  return pods.map(({ containerId }) => containerId).toSorted();
}

const deletePod = (name: string): Promise<string> =>
  kubectl('delete', 'pod', name, '--force', '--grace-period=0');

/** The agent has looked at all of them again, and told: each leak is an event once. */
async function awaitLeak(name: string): Promise<void> {
  await waitFor(
    `${name} to be missed`,
    () => node.log().includes(`tartan/${name}/eth0 is attached, but`),
    WAIT_MS,
  );
}

test(
  'pods that kernel and API server say are gone are collected, and no others',
  { skip, timeout: 400_000 },
  async () => {
    for (const name of ['living', 'unfinished', 'deleted', 'again']) await addPod(name);
    // Its object is gone and its namespace is not: as while a pod ends.
    await deletePod('living');
    for (const name of ['unfinished', 'deleted', 'again']) vanish(name);
    await deletePod('deleted');
    await deletePod('again');
    await apply(podObject('again'));
    await waitFor('the two to be collected', async () => (await attached()).length === 2, WAIT_MS);
    assert.deepEqual(await attached(), ['living', 'unfinished']);
    assert.match(node.log(), /deleted.*its network namespace is gone, and Kubernetes has no such pod/);
    assert.match(
      node.log(),
      /again.*its network namespace is gone, and Kubernetes has another pod of its name/,
    );
    assert.equal(
      node.netns.list('link show type veth').length,
      1 + 1,
      'the living pod’s, and the node’s own',
    );

    await addPod('away');
    await server.kill();
    vanish('away');
    await awaitLeak('away');
    // The agent asks, and is not answered: for as long as a dozen looks take.
    await new Promise((resolve) => setTimeout(resolve, 3 * GARBAGE_SECONDS * 1000));
    assert.deepEqual(await attached(), ['away', 'living', 'unfinished']);
    await server.start();
    await deletePod('away');
    await deletePod('unfinished');
    await waitFor('them to be collected', async () => (await attached()).length === 1, WAIT_MS);
    assert.deepEqual(await attached(), ['living']);
  },
);
