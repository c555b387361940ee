/**
 * kube-proxy on the same nodes: its ClusterIPs and NodePorts reach our pods from everywhere a client can be, in both
 * families and wirings, whichever of the two wrote its rules last; and host ports and masquerade of ours go on beside it.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { add, addressesOf, makePod, tryDel, type Attachment } from '../conformance/runtime.ts';
import { ask, serve, waitForPing, type Server } from '../conformance/traffic.ts';
import {
  describeNode,
  describeService,
  kubeProxyVersion,
  MODE,
  startKubeProxy,
  whyNoKubeProxy,
  type Family,
  type KubeProxy,
} from '../runtimes/kube-proxy.ts';
import { waitFor, whyNoKernel, type Namespace } from './namespace.ts';
import { makeUnderlay, startNode, whyNoTartan, type Node, type Underlay } from './node.ts';

const why = whyNoKernel(['nft', 'iptables', 'ip6tables', 'conntrack', 'curl']) ?? whyNoKubeProxy();

const CIDR = { 4: '10.88.0.0/16', 6: 'fd88::/96' } as const;
const NODES = { 4: ['172.30.0.1', '172.30.0.2'], 6: ['fd30::1', 'fd30::2'] } as const;
const OUTSIDE = { 4: '172.30.0.254', 6: 'fd30::fe' } as const;
const NETWORK = {
  cniVersion: '1.0.0',
  name: 'bxnet',
  plugins: [{ type: 'tartan-cni', capabilities: { portMappings: true } }],
};
const HOST_PORT = { portMappings: [{ hostPort: 18_080, containerPort: 8080, protocol: 'tcp' }] };

type Client = { readonly title: string; readonly netns: Namespace };
type Pod = Client & { readonly attachment: Attachment; readonly addresses: Record<Family, string> };
type Cluster = {
  readonly underlay: Underlay;
  readonly nodes: readonly Node[];
  /** Pods of the first node (the server `near`, a client) and of the second (the server `far`, a client). */
  readonly pods: Readonly<Record<'near' | 'beside' | 'far' | 'away', Pod>>;
  readonly outside: Client;
  readonly hosts: readonly Client[];
  stop(): Promise<void>;
};

const serviceIp = (family: Family, last: number): string =>
  family === 4 ? `10.96.0.${last}` : `fd96::${last}`;
/** Node ports are the cluster's, not a family's. */
const nodePort = (family: Family, base: number): number => base + family;

function services(pods: Cluster['pods']): object[] {
  const near = (family: Family) => ({ address: pods.near.addresses[family], node: 'n1' });
  const far = (family: Family) => ({ address: pods.far.addresses[family], node: 'n2' });
  const web = { port: 80, targetPort: 8080 };
  return ([4, 6] as const).flatMap((family) =>
    [
      { name: 'near', ...web, nodePort: nodePort(family, 30_080), endpoints: [near(family)] },
      { name: 'both', ...web, endpoints: [near(family), far(family)] },
      { name: 'local', ...web, nodePort: nodePort(family, 30_090), local: true, endpoints: [near(family)] },
      { name: 'udp', protocol: 'UDP' as const, port: 53, targetPort: 5353, endpoints: [near(family)] },
    ].flatMap((shape, index) =>
      describeService({
        ...shape,
        name: `${shape.name}${family}`,
        family,
        clusterIp: serviceIp(family, index + 1),
      }),
    ),
  );
}
const [NEAR, BOTH, LOCAL, UDP] = [1, 2, 3, 4] as const;

async function startPod(node: Node, title: string, runtimeConfig = {}): Promise<Pod> {
  const attachment = makePod({ runtimeConfig });
  const [four = '', six = ''] = addressesOf(await add({ host: node }, NETWORK, attachment));
  return { title, netns: attachment.netns, attachment, addresses: { 4: four, 6: six } };
}

async function startCluster(wiring: string, enforce: boolean): Promise<Cluster> {
  await using undo = new AsyncDisposableStack();
  const underlay = await makeUnderlay('kp');
  undo.defer(() => underlay.remove());
  const nodes: Node[] = [];
  const settings = {
    network: {
      name: 'bxnet',
      ipv4: { range: CIDR[4] },
      ipv6: { range: CIDR[6], subnetLength: 112 },
    },
    wiring: { type: wiring },
    policy: { enforce },
  };
  for (const index of [1, 2]) {
    const [first] = nodes;
    const store = first === undefined ? {} : { store: join(first.directory, 'store') };
    const node = await startNode(`n${index}`, settings, { underlay, index, ...store });
    undo.defer(() => node.stop());
    nodes.push(node);
  }
  const [one, two] = nodes as [Node, Node];
  const start = async (node: Node, title: string, runtimeConfig = {}): Promise<Pod> => {
    const pod = await startPod(node, title, runtimeConfig);
    undo.defer(async () => {
      await tryDel({ host: node }, NETWORK, pod.attachment);
      pod.netns.remove();
    });
    return pod;
  };
  const listen = async (at: Client, protocol: 'tcp' | 'udp', port: number): Promise<Server> => {
    const server = await serve(at.netns, at.title, protocol, port);
    undo.defer(() => server.stop());
    return server;
  };
  const pods = {
    near: await start(one, 'near', HOST_PORT),
    beside: await start(one, 'beside'),
    far: await start(two, 'far'),
    away: await start(two, 'away'),
  };
  const outside = { title: 'outside', netns: underlay.netns };
  for (const at of [pods.near, pods.far, outside]) await listen(at, 'tcp', 8080);
  await listen(pods.near, 'udp', 5353);
  for (const family of [4, 6] as const)
    await waitForPing(pods.away.netns, pods.near.addresses[family], 20_000);
  const kept = undo.move();
  return {
    underlay,
    nodes,
    pods,
    outside,
    hosts: nodes.map((node, index) => ({ title: `node ${index + 1}`, netns: node.netns })),
    stop: () => kept.disposeAsync(),
  };
}

/** Starts kube-proxy on both nodes, side by side. */
async function startProxies(cluster: Cluster): Promise<KubeProxy[]> {
  const resources = [
    ...services(cluster.pods),
    ...[0, 1].map((index) => describeNode(`n${index + 1}`, [NODES[4][index] ?? '', NODES[6][index] ?? ''])),
  ];
  return Promise.all(
    cluster.nodes.map(({ netns, directory }, index) =>
      startKubeProxy({ name: `n${index + 1}`, netns, directory }, `${CIDR[4]},${CIDR[6]}`, resources),
    ),
  );
}

type Target = { readonly address: string; readonly port: number };

/** Every client gets an answer of `near`; with `source`, one that shows the client's own address. */
async function expectNear(
  what: string,
  clients: readonly Client[],
  target: Target,
  options: { protocol?: 'tcp' | 'udp'; source?: (client: Client) => string } = {},
): Promise<void> {
  const { protocol = 'tcp', source } = options;
  const answers = await Promise.all(
    clients.map(async (client) => [client.title, await ask(client.netns, protocol, target)] as const),
  );
  for (const [index, [title, answer = 'no answer']] of answers.entries()) {
    const client = clients[index] as Client;
    if (source === undefined) assert.match(answer, /^near /, `${what} from ${title}`);
    else assert.equal(answer, `near ${source(client)}`, `${what} from ${title}`);
  }
}

async function clusterIps({ pods, hosts }: Cluster, family: Family): Promise<void> {
  const clients = [pods.beside, pods.away];
  const source = (client: Client): string => (client as Pod).addresses[family];
  const near = { address: serviceIp(family, NEAR), port: 80 };
  await expectNear('ClusterIP', clients, near, { source });
  await expectNear('ClusterIP', hosts, near);
  await expectNear('hairpin: ClusterIP', [pods.near], near);
  const udp = { address: serviceIp(family, UDP), port: 53 };
  await expectNear('UDP ClusterIP', clients, udp, { protocol: 'udp', source });
  const seen = new Set<string>();
  for (let tries = 0; seen.size < 2 && tries < 40; tries += 1) {
    const answer = await ask(pods.beside.netns, 'tcp', { address: serviceIp(family, BOTH), port: 80 });
    assert.match(answer ?? 'no answer', /^(near|far) /, 'a Service with endpoints on both nodes');
    seen.add(answer?.split(' ')[0] ?? '');
  }
  assert.deepEqual([...seen].sort(), ['far', 'near'], 'both endpoints are used');
}

async function nodePorts({ pods, hosts, outside }: Cluster, family: Family): Promise<void> {
  const port = nodePort(family, 30_080);
  for (const address of NODES[family])
    await expectNear(`NodePort of ${address}`, [outside, pods.near, pods.beside, pods.away, ...hosts], {
      address,
      port,
    });
}

async function localPolicy({ pods, outside }: Cluster, family: Family): Promise<void> {
  const [one, two] = NODES[family];
  const port = nodePort(family, 30_090);
  await expectNear(
    'NodePort with policy Local',
    [outside],
    { address: one, port },
    {
      source: () => OUTSIDE[family],
    },
  );
  const other = await ask(outside.netns, 'tcp', { address: two, port });
  assert.equal(other, undefined, 'policy Local: a node without endpoint does not answer');
  await expectNear('ClusterIP of policy Local', [pods.near, pods.beside, pods.away], {
    address: serviceIp(family, LOCAL),
    port: 80,
  });
}

/** What Tartan itself promises goes on: host ports with the client's address, pods' own addresses, one masquerade. */
async function ours({ pods, outside }: Cluster, family: Family): Promise<void> {
  const address = NODES[family][0];
  await expectNear('hostPort', [outside], { address, port: 18_080 }, { source: () => OUTSIDE[family] });
  await expectNear('hostPort', [pods.near, pods.beside, pods.away], { address, port: 18_080 });
  await expectNear(
    'directly',
    [pods.beside, pods.away],
    { address: pods.near.addresses[family], port: 8080 },
    {
      source: (client) => (client as Pod).addresses[family],
    },
  );
  for (const [client, node] of [
    [pods.beside, 0],
    [pods.away, 1],
  ] as const)
    assert.equal(
      await ask(client.netns, 'tcp', { address: OUTSIDE[family], port: 8080 }),
      `outside ${NODES[family][node]}`,
      `${client.title} goes out by its node's address`,
    );
}

/** Our table is gone and comes back, so its chains are registered after kube-proxy's. */
async function writeOursLast({ nodes }: Cluster): Promise<void> {
  for (const { netns } of nodes) {
    await netns.must(['nft', 'delete', 'table', 'inet', 'tartan']);
    await waitFor(
      'our table to come back',
      async () => {
        const { stdout } = await netns.run(['nft', 'list', 'table', 'inet', 'tartan']);
        return /18080/.test(stdout) || (netns !== nodes[0]?.netns && /masquerade/.test(stdout));
      },
      20_000,
    );
  }
}

/** With policy, bridge pods reach each other by way of the host: that must not matter to services. */
const VARIANTS = [
  { title: 'routed wiring', wiring: 'routed', enforce: false },
  { title: 'bridge wiring', wiring: 'bridge', enforce: false },
  { title: 'bridge wiring with policy', wiring: 'bridge', enforce: true },
] as const;

for (const { title, wiring, enforce } of VARIANTS)
  describe(`kube-proxy (${MODE}), ${title}`, { skip: why ?? whyNoTartan() ?? false }, () => {
    let cluster: Cluster;
    let proxies: KubeProxy[] = [];
    before(async () => {
      console.log(`# kube-proxy ${kubeProxyVersion()}, mode ${MODE}`);
      cluster = await startCluster(wiring, enforce);
      proxies = await startProxies(cluster);
    });
    after(async () => {
      for (const proxy of proxies) await proxy.stop();
      await cluster?.stop();
    });
    const everything = (): void => {
      for (const family of [4, 6] as const) {
        test(`ClusterIP, hairpin and balancing, IPv${family}`, () => clusterIps(cluster, family));
        test(`NodePort from everywhere, IPv${family}`, () => nodePorts(cluster, family));
        test(`externalTrafficPolicy Local, IPv${family}`, () => localPolicy(cluster, family));
        test(`our host ports, roads and masquerade, IPv${family}`, () => ours(cluster, family));
      }
    };
    test(`both run in mode ${MODE}`, async () => {
      const question = ['curl', '-sS', '-m', '5', 'http://127.0.0.1:10249/proxyMode'];
      for (const { netns } of cluster.nodes) assert.equal(await netns.must(question), MODE);
    });
    describe('its rules are the last', everything);
    if (enforce) return;
    describe('our rules are the last', () => {
      before(() => writeOursLast(cluster));
      everything();
    });
  });
