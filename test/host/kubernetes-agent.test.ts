/**
 * Agents of a cluster of Kubernetes, with a real API server and the rights that `tartan install` grants: what they read of
 * Node and Pod objects, what they write there, and what becomes of pods while the API server is away.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, before, test } from 'node:test';
import { join } from 'node:path';
import { AGENT_RULES } from '../../src/deploy/access.ts';
import { customResourceDefinitions } from '../../src/deploy/crds.ts';
import { type ApiServer, noApiServer, startApiServer } from '../kubernetes/api-server.ts';
import { programPeer } from './flannel-node.ts';
import {
  makeForwarding,
  makeNamespace,
  type Namespace,
  type Output,
  waitFor,
  whyNoKernel,
} from './namespace.ts';
import { makeUnderlay, type Node, startNode, type Underlay, whyNoTartan } from './node.ts';

const skip = noApiServer ?? whyNoKernel(['ip', 'bridge', 'ping']) ?? whyNoTartan();
const TAINT = 'tartan.dev/agent-not-ready';
const VTEP = 'flannel.alpha.coreos.com/backend-data';

type Fields = Record<string, unknown>;
type NodeObject = {
  readonly metadata: { readonly annotations?: Record<string, string> };
  readonly spec: { readonly podCIDR: string; readonly taints?: { readonly key: string }[] };
  readonly status: { readonly conditions?: { type: string; status: string; reason: string }[] };
};
type Pod = { readonly name: string; readonly uid: string; readonly netns: Namespace; address: string };

let underlay: Underlay;
let server: ApiServer;
let nodes: readonly Node[] = [];
const namespaces: Namespace[] = [];
const directory = mkdtempSync(join(tmpdir(), 'ka-'));

async function kubectl(...words: string[]): Promise<string> {
  const { code, stdout, stderr } = await server.kubectl(words);
  assert.equal(code, 0, `kubectl ${words.join(' ')}: ${stderr}`);
  return stdout;
}

async function apply(...objects: Fields[]): Promise<void> {
  const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects });
  const { code, stderr } = await server.kubectl(['apply', '-f', '-'], { input });
  assert.equal(code, 0, stderr);
}

async function nodeObject(name: string): Promise<NodeObject> {
  return JSON.parse(await kubectl('get', 'node', name, '-o', 'json')) as NodeObject;
}

function condition({ status }: NodeObject): string | undefined {
  const found = status.conditions?.find(({ type }) => type === 'NetworkUnavailable');
  return found && `${found.status} ${found.reason}`;
}

/** The API server puts another one on a node that is new. */
function taints({ spec }: NodeObject): string[] {
  return (spec.taints ?? []).map(({ key }) => key);
}

const OTHER_TAINT = { key: 'example.org/gpu', effect: 'NoSchedule' };

function nodeManifest(name: string, podCIDR: string, more: Fields = {}): Fields {
  const taints = [OTHER_TAINT, { key: TAINT, effect: 'NoSchedule' }];
  const spec = { podCIDR, podCIDRs: [podCIDR], taints };
  return { apiVersion: 'v1', kind: 'Node', metadata: { name, ...more }, spec };
}

function podManifest(node: string, name: string, labels: Record<string, string>): Fields {
  const spec = { nodeName: node, containers: [{ name: 'main', image: 'none' }] };
  return { apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace: 'shop', labels }, spec };
}

const CONFIG = { cniVersion: '1.1.0', name: 'tartan', type: 'tartan-cni' };
let containers = 0;

function environment({ name, uid, netns }: Omit<Pod, 'address'>): Record<string, string> {
  const args = { IgnoreUnknown: '1', K8S_POD_NAMESPACE: 'shop', K8S_POD_NAME: name, K8S_POD_UID: uid };
  return {
    CNI_CONTAINERID: `c${(containers += 1)}`,
    CNI_NETNS: netns.path,
    CNI_IFNAME: 'eth0',
    CNI_ARGS: Object.entries(args)
      .map(([key, value]) => `${key}=${value}`)
      .join(';'),
  };
}

async function attach(node: Node, pod: Omit<Pod, 'address'>): Promise<Output> {
  return node.cni('ADD', environment(pod), CONFIG);
}

async function uidOf(name: string): Promise<string> {
  return kubectl('get', 'pod', '-n', 'shop', name, '-o', 'jsonpath={.metadata.uid}');
}

function podSpace(label: string): Namespace {
  const netns = makeNamespace(`ka-${label}`);
  namespaces.push(netns);
  return netns;
}

/** Its object first, as kubelets do. */
async function addPod(node: Node, nodeName: string, name: string, labels = {}): Promise<Pod> {
  await apply(podManifest(nodeName, name, labels));
  const pod = { name, uid: await uidOf(name), netns: podSpace(name) };
  return { ...pod, address: addressOf(await attach(node, pod)) };
}

function addressOf({ code, stdout, stderr }: Output): string {
  assert.equal(code, 0, stdout + stderr);
  return (JSON.parse(stdout) as { ips: { address: string }[] }).ips[0]?.address.split('/')[0] ?? '';
}

async function reaches(from: Namespace, address: string): Promise<boolean> {
  return (await from.run(['ping', '-c', '1', '-W', '1', address])).code === 0;
}

function fault(output: Output): { code: number; msg: string } {
  return JSON.parse(output.stdout) as { code: number; msg: string };
}

async function start(
  name: string,
  index: number,
  { profile, user } = { profile: 'canal', user: 'agent' },
): Promise<Node> {
  const kubeconfig = server.kubeconfig(user);
  return startNode(
    name,
    {
      profile,
      addresses: { type: 'node-cidr', quarantineSeconds: 0 },
      store: { type: 'kubernetes', kubernetes: { kubeconfig, requestTimeoutSeconds: 2 } },
    },
    { underlay, index },
  );
}

if (skip === undefined) {
  before(async () => {
    underlay = await makeUnderlay('ka');
    server = await startApiServer({
      place: { netns: underlay.netns, address: '172.30.0.254' },
      users: { agent: { name: 'agent' }, plain: { name: 'plain' } },
      audit: true,
    });
    const rbac = 'rbac.authorization.k8s.io';
    const rules = AGENT_RULES.map(({ apiGroups, resources, verbs }) => ({ apiGroups, resources, verbs }));
    await apply(
      { apiVersion: `${rbac}/v1`, kind: 'ClusterRole', metadata: { name: 'agent' }, rules },
      {
        apiVersion: `${rbac}/v1`,
        kind: 'ClusterRoleBinding',
        metadata: { name: 'agent' },
        roleRef: { apiGroup: rbac, kind: 'ClusterRole', name: 'agent' },
        subjects: ['agent', 'plain'].map((name) => ({ apiGroup: rbac, kind: 'User', name })),
      },
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } },
      ...customResourceDefinitions({ expressions: false }),
      nodeManifest('ka1', '10.244.1.0/24'),
      nodeManifest('ka2', '10.244.2.0/24'),
    );
    nodes = await Promise.all([start('ka1', 1), start('ka2', 2)]);
  });
  after(async () => {
    await Promise.all(nodes.map((node) => node.stop()));
    for (const netns of namespaces) netns.remove();
    await server?.[Symbol.asyncDispose]();
    underlay?.remove();
    rmSync(directory, { recursive: true, force: true });
  });
}

async function restartedWrites(node: Node, name: string): Promise<string[]> {
  const before = server.audited().length;
  await node.restart();
  await new Promise((resolve) => setTimeout(resolve, 2000));
  return server
    .audited()
    .slice(before)
    .filter(
      ({ verb, requestURI }) =>
        verb !== 'get' && verb !== 'list' && verb !== 'watch' && requestURI.includes(name),
    )
    .map(({ verb, requestURI }) => `${verb} ${requestURI}`);
}

test('a cluster of Kubernetes', { skip, timeout: 240_000 }, async (t) => {
  const [one, two] = nodes as [Node, Node];
  let web: Pod, db: Pod, other: Pod;
  let plain: Node;

  await t.test('the Node has its podCIDR, is available, and loses its startup taint alone', async () => {
    const node = await waitFor(
      'the Node to be told',
      async () => {
        const object = await nodeObject('ka1');
        const isWhole = condition(object) !== undefined && object.metadata.annotations?.[VTEP] !== undefined;
        return !taints(object).includes(TAINT) && isWhole && object;
      },
      30_000,
    );
    assert.ok(taints(node).includes(OTHER_TAINT.key));
    assert.equal(condition(node), 'False TartanIsUp');
    assert.match((await one.run(['status'])).stdout, /10\.244\.1\.0\/24/);
    assert.match(node.metadata.annotations?.[VTEP] ?? '', /^\{"VNI":1,"VtepMAC":"[0-9a-f:]{17}"\}$/);
    assert.equal(node.metadata.annotations?.['flannel.alpha.coreos.com/public-ip'], '172.30.0.1');
  });

  await t.test('a restart writes nothing into it', async () => {
    assert.deepEqual(await restartedWrites(one, 'nodes/ka1'), []);
  });

  await t.test('what flannel was told to announce is announced', async () => {
    const key = 'flannel.alpha.coreos.com/public-ip-overwrite';
    const announced = async (): Promise<boolean> => {
      const advert = await kubectl('get', 'nodeadvert', 'ka2', '-o', 'jsonpath={.spec.addresses.4}');
      const { metadata } = await nodeObject('ka2');
      return (
        advert === (metadata.annotations?.['flannel.alpha.coreos.com/public-ip'] ?? '') &&
        advert !== '172.30.0.2'
      );
    };
    await kubectl('annotate', 'node', 'ka2', `${key}=172.30.0.22`);
    await waitFor('the address to be announced', announced, 20_000);
    await kubectl('annotate', 'node', 'ka2', `${key}-`);
    await waitFor('it to be taken back', async () => !(await announced()), 20_000);
  });

  await t.test('labels of pods are of their objects, on their own node and on the others', async () => {
    web = await addPod(one, 'ka1', 'web', { app: 'web' });
    other = await addPod(one, 'ka1', 'other', { app: 'other' });
    db = await addPod(two, 'ka2', 'db', { app: 'db' });
    assert.ok(await reaches(web.netns, db.address));
    assert.ok(await reaches(other.netns, db.address));
    const from = [{ podSelector: { matchLabels: { app: 'web' } } }];
    await apply({
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name: 'db', namespace: 'shop' },
      spec: { podSelector: { matchLabels: { app: 'db' } }, ingress: [{ from }] },
    });
    await waitFor('the policy to be in force', async () => !(await reaches(other.netns, db.address)), 20_000);
    assert.ok(await reaches(web.netns, db.address));
    const asked = server
      .audited()
      .filter(
        ({ user, verb, requestURI }) =>
          user.username === 'agent' && verb !== 'get' && /\/pods\b/.test(requestURI),
      );
    assert.ok(asked.length > 0);
    assert.ok(
      asked.every(({ requestURI }) => requestURI.includes('spec.nodeName%3Dka')),
      'pods of other nodes are read',
    );
  });

  await t.test('a pod whose object is not there is waited for, then refused until it is', async () => {
    const late = { name: 'late', uid: 'none', netns: podSpace('late') };
    const refused = fault(await attach(one, late));
    assert.equal(refused.code, 11);
    assert.match(refused.msg, /Pod shop\/late is not in the API/);
    const { uid: _, ...rest } = late;
    const env = environment({ ...rest, uid: '' });
    const adding = one.cni(
      'ADD',
      { ...env, CNI_ARGS: env['CNI_ARGS']?.replace('K8S_POD_UID=', 'X=') },
      CONFIG,
    );
    await apply(podManifest('ka1', 'late', { app: 'web' }));
    const address = addressOf(await adding);
    await waitFor(`${address} to be known by its labels`, () => reaches(late.netns, db.address), 20_000);
  });

  await t.test('the podCIDR of a node in use is not exchanged, and an Event says so', async () => {
    await kubectl('delete', 'node', 'ka1');
    await apply(nodeManifest('ka1', '10.244.9.0/24'));
    const isTold = async (): Promise<boolean> => {
      const events = await kubectl('get', 'events', '-A', '-o', 'json');
      return events.includes('has the podCIDR 10.244.9.0/24 now, but pods live in 10.244.1.0/24');
    };
    await waitFor('the Event', isTold, 30_000);
    assert.match(await kubectl('describe', 'node', 'ka1'), /Warning\s+TartanError\s.*10\.244\.9\.0\/24/);
    assert.ok(await reaches(web.netns, db.address), 'pods go on');
    assert.match(fault(await one.cni('STATUS', {}, CONFIG)).msg, /it is taken once they are gone/);
    await kubectl('delete', 'node', 'ka1');
    await apply(nodeManifest('ka1', '10.244.1.0/24'));
    const isReady = async (): Promise<boolean> => (await one.cni('STATUS', {}, CONFIG)).code === 0;
    await waitFor('the node to be ready', isReady, 30_000);
    await waitFor(
      'a new object to be told',
      async () => condition(await nodeObject('ka1')) !== undefined,
      60_000,
    );
  });

  await t.test('a node of flannel’s is a peer, and has us for one', async () => {
    const flannel = await makeFlannel(3);
    assert.ok(await waitFor('ping to flannel', () => reaches(web.netns, flannel.address), 20_000));
    assert.ok(await waitFor('ping from flannel', () => reaches(flannel.pod, web.address), 20_000));
    await kubectl('delete', 'node', 'ka3');
    const route = (): boolean => one.netns.ip('route').includes('10.244.3.0/24');
    await waitFor('the peer to be gone', () => !route(), 20_000);
  });

  await t.test('a node without policy reads Nodes and its pods, which policies of others know', async () => {
    await apply(nodeManifest('ka4', '10.244.4.0/24'));
    plain = await start('ka4', 4, { profile: 'flannel', user: 'plain' });
    nodes = [...nodes, plain];
    const isRoute = (): boolean => one.netns.ip('route').includes('10.244.4.0/24');
    await waitFor('the node to be a peer', isRoute, 20_000);
    const allowed = await addPod(plain, 'ka4', 'allowed', { app: 'web' });
    const stranger = await addPod(plain, 'ka4', 'stranger', { app: 'other' });
    await waitFor('its pod to be known by its labels', () => reaches(allowed.netns, db.address), 20_000);
    assert.ok(!(await reaches(stranger.netns, db.address)));
    await kubectl('label', 'pod', '-n', 'shop', 'stranger', 'app=web', '--overwrite');
    await waitFor('its label to be known', () => reaches(stranger.netns, db.address), 20_000);
    const asked = server
      .audited()
      .filter(({ user, verb }) => user.username === 'plain' && ['list', 'watch'].includes(verb));
    const read = new Set(asked.map(({ requestURI }) => requestURI.split('?')[0] ?? ''));
    assert.deepEqual([...read].filter((path) => !path.startsWith('/apis/tartan.dev/')).toSorted(), [
      '/api/v1/nodes',
      '/api/v1/pods',
    ]);
    assert.ok(![...read].some((path) => path.endsWith('/workloads')), 'others’ pods are read');
    const pods = asked.filter(({ requestURI }) => requestURI.startsWith('/api/v1/pods'));
    assert.ok(pods.every(({ requestURI }) => requestURI.includes('spec.nodeName%3Dka4')));
  });

  await t.test('nothing that was asked for was refused', () => {
    const refused = server
      .audited()
      .filter(({ user, responseStatus }) => user.username === 'agent' && responseStatus?.code === 403);
    assert.deepEqual(
      refused.map(({ verb, requestURI }) => `${verb} ${requestURI}`),
      [],
    );
  });

  await t.test('the API server is away', async (t) => {
    const near = await addPod(one, 'ka1', 'near', { app: 'db' });
    const again = { ...web, netns: podSpace('again') };
    await server.kill();
    await t.test('pods go on; one that is known is attached, one that is not is refused', async () => {
      assert.ok(await reaches(web.netns, db.address));
      assert.ok(!(await reaches(other.netns, db.address)));

      const address = addressOf(await attach(one, again));
      assert.ok(await reaches(again.netns, near.address), `${address} has the labels of its object`);
      assert.ok(!(await reaches(other.netns, near.address)));
      const refused = fault(await attach(one, { name: 'new', uid: 'x', netns: podSpace('new') }));
      assert.equal(refused.code, 11);
    });
    await t.test('an agent that starts now leaves all as it is', async () => {
      void one.restart().catch(() => undefined);
      const isWaiting = async (): Promise<boolean> =>
        /the store has not been read yet/.test((await one.cni('STATUS', {}, CONFIG)).stdout);
      await waitFor('the agent to wait', isWaiting, 15_000);
      assert.ok(await reaches(web.netns, db.address));
      assert.ok(!(await reaches(other.netns, db.address)));
    });
    await t.test('without policy, one that starts now adds pods by what it knew before', async () => {
      await plain.restart();
      const pod = { name: 'early', uid: 'x', netns: podSpace('early') };
      addressOf(await attach(plain, pod));
      assert.ok(await reaches(pod.netns, web.address));
      assert.match(plain.log(), /the store does not answer: pods are added/);
    });
    await server.start();
    await t.test('it is back, and all that happened meanwhile is known', async () => {
      const isReady = async (): Promise<boolean> => (await one.cni('STATUS', {}, CONFIG)).code === 0;
      await waitFor('the node to be ready', isReady, 60_000);
      await waitFor(
        'the pod that came meanwhile to be known',
        () => reaches(again.netns, db.address),
        20_000,
      );
      const fresh = await addPod(one, 'ka1', 'fresh', { app: 'web' });
      const isKnown = (): Promise<boolean> => reaches(fresh.netns, db.address);
      await waitFor('the other node to know the pod', isKnown, 20_000);
      assert.ok(!(await reaches(other.netns, db.address)));
    });
  });

  await t.test('a node that Tartan leaves is unavailable, and flannel’s nodes forget it', async () => {
    const { code, stdout, stderr } = await two.run(['uninstall', '--purge']);
    assert.equal(code, 0, stderr + stdout);
    const left = await nodeObject('ka2');
    assert.equal(condition(left), 'True TartanHasLeft');
    assert.ok(!Object.keys(left.metadata.annotations ?? {}).some((key) => key.startsWith('flannel')));
    assert.ok(!taints(left).includes(TAINT));
  });
});

/** As flanneld makes it (pkg/backend/vxlan), with a pod; its peers are what annotations of the other nodes say. */
async function makeFlannel(index: number): Promise<{ readonly pod: Namespace; readonly address: string }> {
  const netns = podSpace(`n${index}`);
  const pod = podSpace(`p${index}`);
  await makeForwarding(netns);
  underlay.plug(netns, index);
  netns.ip(`link add flannel.1 type vxlan id 1 dev eth0 local 172.30.0.${index} dstport 8472 nolearning`);
  netns.ip(`addr add 10.244.${index}.0/32 dev flannel.1`);
  netns.ip('link set flannel.1 up mtu 1450');
  netns.ip(`link add veth0 type veth peer name eth0 netns ${pod.name}`);
  netns.ip(`addr add 10.244.${index}.1/24 dev veth0`);
  netns.ip('link set veth0 up');
  pod.ip(`addr add 10.244.${index}.2/24 dev eth0`);
  pod.ip('link set eth0 up mtu 1450');
  pod.ip(`route add default via 10.244.${index}.1`);
  const [device] = netns.list<{ address: string }>('link show flannel.1');
  const told = (name: string): string => `flannel.alpha.coreos.com/${name}`;
  const annotations = {
    [told('kube-subnet-manager')]: 'true',
    [told('backend-type')]: 'vxlan',
    [told('backend-data')]: JSON.stringify({ VNI: 1, VtepMAC: device?.address }),
    [told('public-ip')]: `172.30.0.${index}`,
  };
  await apply(nodeManifest(`ka${index}`, `10.244.${index}.0/24`, { annotations }));
  for (const peer of ['ka1', 'ka2']) {
    const { metadata, spec } = await nodeObject(peer);
    const { VtepMAC: mac } = JSON.parse(metadata.annotations?.[told('backend-data')] ?? '{}') as {
      VtepMAC: string;
    };
    const address = metadata.annotations?.[told('public-ip')] ?? '';
    await programPeer(netns, { subnet: spec.podCIDR, address, mac });
  }
  return { pod, address: `10.244.${index}.2` };
}
