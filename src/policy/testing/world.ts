/** Small clusters for tests, in few words. Node 1 has 192.0.2.1 and 2001:db8::1; the fifth pod has 10.244.0.5 and fd00::5. */
import { PROTOCOL } from '#model/policy.ts';
import type { Flow } from '#model/verdict.ts';
import type { Endpoint, HostEndpoint, Labels, NamedPort, Pod, PolicyWorld } from '#model/workload.ts';
import { type Address, address, type Family } from '#net/address.ts';

export type PodSketch = {
  readonly name: string;
  readonly labels?: Labels;
  readonly node?: string;
  readonly account?: string;
  readonly ports?: readonly NamedPort[];
  readonly hostNetwork?: boolean;
  readonly profiles?: readonly string[];
};

export type WorldSketch = {
  /** Names `namespace/name`. */
  readonly pods: readonly PodSketch[];
  /** Their name's label is added, as Kubernetes does. */
  readonly namespaces?: Readonly<Record<string, Labels>>;
  readonly accounts?: Readonly<Record<string, Labels>>;
  readonly nodes?: Readonly<Record<string, Labels>>;
  readonly others?: readonly Endpoint[];
  readonly services?: PolicyWorld['services'];
  readonly names?: PolicyWorld['names'];
  readonly failsafe?: PolicyWorld['failsafe'];
};

export function makeWorld(sketch: WorldSketch): PolicyWorld {
  const nodes = Object.entries(sketch.nodes ?? { a: {}, b: {} });
  const spaces = new Set(sketch.pods.map(({ name }) => name.split('/')[0] ?? ''));
  const namespaces = [...spaces].map((name) => [name, sketch.namespaces?.[name] ?? {}] as const);
  return {
    endpoints: [...sketch.pods.map((pod, index) => makePod(pod, index, nodes)), ...(sketch.others ?? [])],
    namespaces: new Map(
      namespaces.map(([name, labels]) => [name, { ...labels, 'kubernetes.io/metadata.name': name }]),
    ),
    accounts: new Map(Object.entries(sketch.accounts ?? {})),
    nodes: new Map(nodes.map(([name, labels], index) => [name, { labels, addresses: nodeAddresses(index) }])),
    services: sketch.services ?? new Map(),
    names: sketch.names ?? new Map(),
    failsafe: sketch.failsafe ?? { ingress: [], egress: [] },
  };
}

function makePod(sketch: PodSketch, index: number, nodes: readonly (readonly [string, Labels])[]): Pod {
  const [namespace = '', name = ''] = sketch.name.split('/');
  const node = sketch.node ?? nodes[index % nodes.length]?.[0] ?? '';
  const own = [address(`10.244.0.${index + 1}`), address(`fd00::${(index + 1).toString(16)}`)];
  const shared = nodeAddresses(nodes.findIndex(([each]) => each === node));
  const defaults = { labels: {}, account: 'default', ports: [], hostNetwork: false };
  const addresses = sketch.hostNetwork === true ? shared : own;
  return { ...defaults, ...sketch, kind: 'pod', namespace, name, node, addresses };
}

function nodeAddresses(index: number): Address[] {
  return [address(`192.0.2.${index + 1}`), address(`2001:db8::${(index + 1).toString(16)}`)];
}

export function hostEndpoint(name: string, more: Partial<HostEndpoint> = {}): HostEndpoint {
  const node = more.node ?? 'a';
  const addresses = nodeAddresses(node === 'a' ? 0 : 1);
  const base = {
    kind: 'host',
    name,
    labels: {},
    node,
    interface: 'eth0',
    addresses,
    ports: [],
    profiles: [],
  } as const;
  return { ...base, ...more };
}

/** A place of a flow: `shop/web` (a pod), `node a`, or an address. */
export function addressOf(world: PolicyWorld, place: string, family: Family = 4): Address {
  const pod = world.endpoints.find(
    (each): each is Pod => each.kind === 'pod' && `${each.namespace}/${each.name}` === place,
  );
  const node = place.startsWith('node ') ? world.nodes.get(place.slice(5)) : undefined;
  const found = (pod ?? node)?.addresses[family === 4 ? 0 : 1];
  return found ?? address(place);
}

/** `tcp/80`, `udp/53`, `icmp` (echo request), or a protocol number. */
export function traffic(text: string, family: Family = 4): Omit<Flow, 'source' | 'destination'> {
  const [name = '', port] = text.split('/');
  if (name === 'icmp') {
    return family === 4
      ? { protocol: PROTOCOL.icmp, icmp: { type: 8, code: 0 } }
      : { protocol: PROTOCOL.icmpv6, icmp: { type: 128, code: 0 } };
  }
  const protocol = Object.hasOwn(PROTOCOL, name) ? PROTOCOL[name as keyof typeof PROTOCOL] : Number(name);
  return port === undefined ? { protocol } : { protocol, sourcePort: 40_000, destinationPort: Number(port) };
}

export function makeFlow(
  world: PolicyWorld,
  ends: readonly [from: string, to: string],
  kind: string,
  family: Family = 4,
): Flow {
  const [source, destination] = ends.map((end) => addressOf(world, end, family)) as [Address, Address];
  return { ...traffic(kind, family), source, destination };
}
