/**
 * Two nodes that enforce policy, with pods behind the Services of a real kube-proxy, and one machine outside. Policies
 * go by ports: each port of a backend (a door) admits other sources, each port that the client `guest` may use (a way)
 * leads to other destinations, so that all are in force at once.
 */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { add, addressesOf, type Attachment, makePod, tryDel } from '../conformance/runtime.ts';
import { waitForPing } from '../conformance/traffic.ts';
import { describeNode, describeService, type Family, startKubeProxy } from '../runtimes/kube-proxy.ts';
import { waitFor } from './namespace.ts';
import { makeUnderlay, type Node, startNode } from './node.ts';
import { startTalker, type Talker } from './talker.ts';

export type Name = 'near' | 'beside' | 'guest' | 'far' | 'away' | 'node1' | 'node2' | 'outside';
/** Of a node: what it has on the underlay. `tunnel1`: the source of what node 1 sends to node 2's pods. */
export type Place = Name | 'tunnel1' | 'tunnel2';
export type Transport = 'tcp' | 'udp';
export type Addresses = Readonly<Record<Place, Readonly<Record<Family, string>>>>;

const CIDR = { 4: '10.88.0.0/16', 6: 'fd88::/96' } as const;
export const SERVICES = { 4: '10.96.0.0/16', 6: 'fd96::/64' } as const;
const FIXED = {
  node1: { 4: '172.30.0.1', 6: 'fd30::1' },
  node2: { 4: '172.30.0.2', 6: 'fd30::2' },
  outside: { 4: '172.30.0.254', 6: 'fd30::fe' },
} as const;
export const FAMILIES = [4, 6] as const;
export const TRANSPORTS = ['tcp', 'udp'] as const;

/** Which pods are on which node, and what policies know them by. */
const PODS = { near: 1, beside: 1, guest: 1, far: 2, away: 2 } as const;
const ISOLATED: ReadonlySet<string> = new Set(['near', 'far']);
export const SERVED = ['near', 'far', 'beside', 'away'] as const;
export type Served = (typeof SERVED)[number];
const isServed = (name: string): name is Served => SERVED.some((each) => each === name);

/** The door with number i is port 9001 + i; `near` has it as host port 18001 + i, other pods further on. */
const DOOR = 9001;
const HOST_PORT = 18_001;
const SERVICE_PORT = 80;
/** More than doors and ways. */
export const PORTS = 12;
export const doorPort = (index: number): number => DOOR + index;
export const hostPort = (served: Served, index: number): number =>
  HOST_PORT + SERVED.indexOf(served) * 100 + index;

export function clusterIp(family: Family, served: Served, index: number): string {
  const row = SERVED.indexOf(served) + 1;
  return family === 4 ? `10.96.${row}.${index + 1}` : `fd96::${row}:${index + 1}`;
}
/** Node ports are the cluster's, not a family's. `local`: of the Service with externalTrafficPolicy Local. */
// eslint-disable-next-line max-params
export function nodePort(family: Family, served: Served, index: number, local = false): number {
  const row = SERVED.indexOf(served) + (local ? SERVED.length : 0);
  return 30_000 + family * 200 + row * 20 + index;
}

export type Cluster = {
  readonly nodes: readonly Node[];
  readonly talkers: Readonly<Record<Name, Talker>>;
  readonly addresses: Addresses;
  /** Replaces a file of manifests in the nodes' store. */
  apply(file: string, manifests: readonly object[]): void;
  [Symbol.asyncDispose](): Promise<void>;
};

/** Services are named `SERVED-INDEX-TRANSPORT-FAMILY`, with `-local` for those of externalTrafficPolicy Local. */
function servicesOf(addresses: Addresses): object[] {
  return FAMILIES.flatMap((family) =>
    TRANSPORTS.flatMap((transport) =>
      SERVED.flatMap((served) =>
        Array.from({ length: PORTS }, (_, index) => index).flatMap((index) => {
          const shape = {
            family,
            protocol: transport === 'tcp' ? ('TCP' as const) : ('UDP' as const),
            port: SERVICE_PORT,
            targetPort: doorPort(index),
            endpoints: [{ address: addresses[served][family], node: `n${PODS[served]}` }],
          };
          const name = `${served}-${index}-${transport}-${family}`;
          const ip = clusterIp(family, served, index);
          const plain = { name, clusterIp: ip, nodePort: nodePort(family, served, index) };
          const local = {
            name: `${name}-local`,
            clusterIp: family === 4 ? ip.replace('.96.', '.97.') : ip.replace('fd96', 'fd97'),
            nodePort: nodePort(family, served, index, true),
            local: true,
          };
          // One of them is enough to see whom a Local one sees.
          const made = served === 'near' && transport === 'tcp' ? [plain, local] : [plain];
          return made.flatMap((more) => describeService({ ...shape, ...more }));
        }),
      ),
    ),
  );
}

function networkOf(name: string) {
  const labels = [
    { key: 'app', value: name },
    ...(ISOLATED.has(name) ? [{ key: 'doors', value: 'yes' }] : []),
  ];
  const plugin = { type: 'tartan-cni', capabilities: { portMappings: true }, args: { cni: { labels } } };
  return { cniVersion: '1.0.0', name: 'pjnet', plugins: [plugin] };
}

/** With host ports: one per door and transport. */
function podOf(name: string): Partial<Attachment> {
  const args = `IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=${name}`;
  if (!isServed(name)) return { args };
  const portMappings = TRANSPORTS.flatMap((protocol) =>
    Array.from({ length: PORTS }, (_, index) => ({
      hostPort: hostPort(name, index),
      containerPort: doorPort(index),
      protocol,
    })),
  );
  return { args, runtimeConfig: { portMappings } };
}

/** The address that the node's packets have in the tunnel; without one, on the underlay. */
function tunnelAddresses({ netns }: Node, outer: Record<Family, string>): Record<Family, string> {
  type Link = {
    readonly linkinfo?: { readonly info_kind?: string };
    readonly addr_info: readonly {
      readonly family: string;
      readonly scope: string;
      readonly local: string;
    }[];
  };
  const found = netns
    .list<Link>('-d addr show')
    .filter(({ linkinfo }) => linkinfo?.info_kind === 'vxlan')
    .flatMap((link) => link.addr_info.filter(({ scope }) => scope === 'global'));
  const of = (family: string): string | undefined => found.find((each) => each.family === family)?.local;
  return { 4: of('inet') ?? outer[4], 6: of('inet6') ?? outer[6] };
}

export async function startCluster(settings: object): Promise<Cluster> {
  await using undo = new AsyncDisposableStack();
  const underlay = await makeUnderlay('pj');
  undo.defer(() => underlay.remove());
  const nodes: Node[] = [];
  for (const index of [1, 2]) {
    const [first] = nodes;
    const whole = {
      profile: 'canal',
      network: { name: 'pjnet', ipv4: { range: CIDR[4] }, ipv6: { range: CIDR[6], subnetLength: 112 } },
      ...settings,
    };
    const store = first === undefined ? {} : { store: join(first.directory, 'store') };
    const node = await startNode(`n${index}`, whole, { underlay, index, ...store });
    undo.defer(() => node.stop());
    nodes.push(node);
  }
  const [one, two] = nodes as [Node, Node];
  const talk = async (name: Name, netns: Node['netns']): Promise<[Name, Talker]> => {
    const ports = Array.from({ length: PORTS }, (_, index) => doorPort(index));
    const talker = await startTalker(netns, name, ports);
    undo.defer(() => talker.stop());
    return [name, talker];
  };
  const addresses: Partial<Record<Place, Record<Family, string>>> = { ...FIXED };
  const starting = [talk('node1', one.netns), talk('node2', two.netns), talk('outside', underlay.netns)];
  for (const [name, index] of Object.entries(PODS) as [keyof typeof PODS, 1 | 2][]) {
    const node = index === 1 ? one : two;
    const pod = makePod(podOf(name));
    undo.defer(async () => {
      await tryDel({ host: node }, networkOf(name), pod);
      pod.netns.remove();
    });
    const [four = '', six = ''] = addressesOf(await add({ host: node }, networkOf(name), pod));
    addresses[name] = { 4: four, 6: six };
    starting.push(talk(name, pod.netns));
  }
  const talkers = Object.fromEntries(await Promise.all(starting)) as Cluster['talkers'];
  addresses.tunnel1 = tunnelAddresses(one, FIXED.node1);
  addresses.tunnel2 = tunnelAddresses(two, FIXED.node2);
  const known = addresses as Addresses;
  for (const family of FAMILIES) await waitForPing(talkers.away.netns, known.near[family], 20_000);
  await startProxies(nodes, known, undo);
  const kept = undo.move();
  return {
    nodes,
    talkers,
    addresses: known,
    apply: (file, manifests) => write(join(one.directory, 'store/manifests'), file, manifests),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

function write(directory: string, file: string, manifests: readonly object[]): void {
  mkdirSync(directory, { recursive: true });
  const hidden = join(directory, `.${file}`);
  writeFileSync(hidden, manifests.map((each) => `---\n${stringify(each)}`).join(''));
  renameSync(hidden, join(directory, `${file}.yaml`));
}

async function startProxies(
  nodes: readonly Node[],
  addresses: Addresses,
  undo: AsyncDisposableStack,
): Promise<void> {
  const resources = [
    ...servicesOf(addresses),
    describeNode('n1', Object.values(addresses.node1)),
    describeNode('n2', Object.values(addresses.node2)),
  ];
  const proxies = await Promise.allSettled(
    nodes.map(({ netns, directory }, index) =>
      startKubeProxy({ name: `n${index + 1}`, netns, directory }, `${CIDR[4]},${CIDR[6]}`, resources),
    ),
  );
  for (const proxy of proxies) if (proxy.status === 'fulfilled') undo.defer(() => proxy.value.stop());
  for (const proxy of proxies) if (proxy.status === 'rejected') throw proxy.reason;
}

/** Until both nodes have so many policies in force. */
export async function awaitPolicies({ nodes }: Cluster, count: number): Promise<void> {
  const isSo = async (node: Node): Promise<boolean> => {
    const { stdout } = await node.run(['status', '-o', 'json']);
    return (JSON.parse(stdout) as { policy?: { policies: number } }).policy?.policies === count;
  };
  await Promise.all(nodes.map((node) => waitFor(`${count} policies`, () => isSo(node), 20_000)));
}
