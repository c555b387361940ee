/** The doors and ways of ./policy-services.ts, and the paths on which they are tried. */
import {
  type Addresses,
  clusterIp,
  doorPort,
  FAMILIES,
  hostPort,
  type Name,
  nodePort,
  type Place,
  PORTS,
  type Served,
  SERVICES,
  TRANSPORTS,
  type Transport,
} from './policy-services.ts';
import type { Target } from './talker.ts';
import type { Family } from '../runtimes/kube-proxy.ts';

/** What one port admits or leads to; of nodes, tunnels, the outside and Services by ipBlock, of pods by selector. */
type Rule = { readonly title: string; readonly places: readonly (Place | 'services')[] | 'all' };

export type Rules = readonly Rule[];

/** By the index of their port: who may come in. */
export const DOORS: Rules = [
  { title: 'everybody', places: 'all' },
  { title: 'the outside', places: ['outside'] },
  { title: 'the tunnel address of node 1', places: ['tunnel1'] },
  { title: 'the tunnel address of node 2', places: ['tunnel2'] },
  { title: 'node 1', places: ['node1'] },
  { title: 'node 2', places: ['node2'] },
  { title: 'the pod beside', places: ['beside'] },
  { title: 'the pod away', places: ['away'] },
  { title: 'the pod itself', places: ['near'] },
  { title: 'the addresses of Services', places: ['services'] },
  { title: 'nobody', places: [] },
];
/** By the index of their port: where the client `guest` may go. */
export const WAYS: Rules = [
  { title: 'everywhere', places: 'all' },
  { title: 'the pod beside', places: ['beside'] },
  { title: 'the pod away', places: ['away'] },
  { title: 'the addresses of Services', places: ['services'] },
  { title: 'node 1', places: ['node1'] },
  { title: 'node 2', places: ['node2'] },
  { title: 'the outside', places: ['outside'] },
  { title: 'nowhere', places: [] },
];

/** Without a tunnel a node has one address for both. */
export function admits({ places }: Rule, seen: Place, addresses: Addresses): boolean {
  if (places === 'all') return true;
  return places.some((place) => place !== 'services' && addresses[place][4] === addresses[seen][4]);
}

const PODS: ReadonlySet<string> = new Set(['near', 'beside', 'guest', 'far', 'away']);

function peersOf({ places }: Rule, addresses: Addresses): object[] {
  const block = (cidr: string) => ({ ipBlock: { cidr } });
  if (places === 'all') return [block('0.0.0.0/0'), block('::/0')];
  return places.flatMap((place): object[] => {
    if (place === 'services') return FAMILIES.map((family) => block(SERVICES[family]));
    if (PODS.has(place)) return [{ podSelector: { matchLabels: { app: place } } }];
    return [block(`${addresses[place][4]}/32`), block(`${addresses[place][6]}/128`)];
  });
}

/** A port of the way to the outside at which nobody listens. */
export const CLOSED = doorPort(PORTS);

const both = (port: number): object[] => ['TCP', 'UDP'].map((protocol) => ({ port, protocol }));

export function networkPolicy(name: string, spec: object): object {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name, namespace: 'shop' },
    spec,
  };
}

export function doorsPolicy(addresses: Addresses, doors: Rules = DOORS): object {
  const rules = doors.flatMap((rule, index) => {
    const from = peersOf(rule, addresses);
    return from.length === 0 ? [] : [{ from, ports: both(doorPort(index)) }];
  });
  return networkPolicy('doors', { podSelector: { matchLabels: { doors: 'yes' } }, ingress: rules });
}

const portsOfNodes = (index: number): number[] => [
  hostPort('away', index),
  ...(['away', 'beside'] as const).flatMap((served) =>
    FAMILIES.map((family) => nodePort(family, served, index)),
  ),
];

/** What goes to a port of another node still has that port when it leaves the pod: so the ways to nodes name these too. */
export function waysPolicy(addresses: Addresses, ways: Rules = WAYS): object {
  const rules = ways.flatMap((rule, index) => {
    const to = peersOf(rule, addresses);
    const isNode = rule.places.includes('node1') || rule.places.includes('node2');
    const ports = [
      ...(isNode ? portsOfNodes(index) : []),
      ...(rule.places.includes('outside') ? [CLOSED] : []),
    ];
    return to.length === 0 ? [] : [{ to, ports: [doorPort(index), ...ports].flatMap(both) }];
  });
  return networkPolicy('ways', {
    podSelector: { matchLabels: { app: 'guest' } },
    policyTypes: ['Egress'],
    egress: rules,
  });
}

/** How one comes from a client to a backend: the address and port for a door or way. */
type Road = (family: Family, index: number) => { readonly address: string; readonly port: number };

export type Path = {
  readonly title: string;
  readonly from: Name;
  readonly road: Road;
  /** Who answers. */
  readonly to: Name;
  /** Whom the policy of the backend sees; or whom that of the client sees it go to. `exempt`: policies are not asked. */
  readonly seen: Place | 'exempt';
  readonly localAddress?: string;
  readonly families?: readonly Family[];
  readonly transports?: readonly Transport[];
};

const byService =
  (served: Served): Road =>
  (family, index) => ({ address: clusterIp(family, served, index), port: 80 });
// eslint-disable-next-line max-params
const byNodePort =
  (addresses: Addresses, node: 'node1' | 'node2', served: Served, local = false): Road =>
  (family, index) => ({ address: addresses[node][family], port: nodePort(family, served, index, local) });
const byHostPort =
  (addresses: Addresses, node: 'node1' | 'node2' = 'node1', served: Served = 'near'): Road =>
  (family, index) => ({ address: addresses[node][family], port: hostPort(served, index) });
const byLoopback: Road = (_, index) => ({ address: '127.0.0.1', port: hostPort('near', index) });

/** To the backends `near` (node 1) and `far` (node 2), whose doors are judged by the source that is seen. */
export function pathsIn(addresses: Addresses): Path[] {
  const at = (node: 'node1' | 'node2', served: Served): Road => byNodePort(addresses, node, served);
  const tcp = { transports: ['tcp'] } as const;
  const hostPorts = byHostPort(addresses);
  const loopback = { families: [4] } as const;
  const otherLoopback = { ...loopback, localAddress: '127.0.0.9' };
  const rows: Row[] = [
    ['ClusterIP, same node', 'beside', byService('near'), 'near', 'beside'],
    ['ClusterIP, other node', 'away', byService('near'), 'near', 'away'],
    ['ClusterIP, other node', 'beside', byService('far'), 'far', 'beside'],
    ['ClusterIP, the node of the pod', 'node1', byService('near'), 'near', 'exempt'],
    ['ClusterIP, another node', 'node1', byService('far'), 'far', 'tunnel1'],
    ['NodePort, pod on the same node', 'outside', at('node1', 'near'), 'near', 'outside'],
    ['NodePort, pod on the other node', 'outside', at('node1', 'far'), 'far', 'tunnel1'],
    ['NodePort, pod on the other node', 'outside', at('node2', 'near'), 'near', 'tunnel2'],
    ['NodePort, Local', 'outside', byNodePort(addresses, 'node1', 'near', true), 'near', 'outside', tcp],
    ['NodePort of its node', 'beside', at('node1', 'near'), 'near', 'beside'],
    ['NodePort of its node, pod on the other', 'beside', at('node1', 'far'), 'far', 'tunnel1'],
    ['NodePort of the pod’s node', 'away', at('node1', 'near'), 'near', 'node2'],
    ['NodePort of the other node', 'beside', at('node2', 'near'), 'near', 'tunnel2'],
    ['NodePort, the node of the pod', 'node1', at('node1', 'near'), 'near', 'exempt'],
    ['NodePort, another node', 'node2', at('node2', 'near'), 'near', 'tunnel2'],
    ['NodePort, another node, of the pod’s node', 'node2', at('node1', 'near'), 'near', 'node2'],
    ['host port', 'outside', hostPorts, 'near', 'outside'],
    ['host port, pod of the node', 'beside', hostPorts, 'near', 'beside'],
    ['host port, pod of the other node', 'away', hostPorts, 'near', 'node2'],
    ['host port, its node', 'node1', hostPorts, 'near', 'exempt'],
    ['host port, another node', 'node2', hostPorts, 'near', 'node2'],
    ...hairpins(addresses),
    ['host port at 127.0.0.1', 'node1', byLoopback, 'near', 'exempt', loopback],
    ['host port at 127.0.0.1, from 127.0.0.9', 'node1', byLoopback, 'near', 'exempt', otherLoopback],
  ];
  return rows.map(pathOf);
}

type Row = readonly [string, Name, Road, Name, Path['seen'], Partial<Path>?];
const pathOf = ([title, from, road, to, seen, more]: Row): Path => ({
  title,
  from,
  road,
  to,
  seen,
  ...more,
});

function hairpins(addresses: Addresses): Row[] {
  return [
    ['ClusterIP, hairpin', 'near', byService('near'), 'near', 'near'],
    ['NodePort, hairpin', 'near', byNodePort(addresses, 'node1', 'near'), 'near', 'near'],
    ['host port, hairpin', 'near', byHostPort(addresses), 'near', 'near'],
  ];
}
export const hairpinPaths = (addresses: Addresses): Path[] => hairpins(addresses).map(pathOf);

/** From the client `guest` on node 1 to backends whose doors are open, judged by the destination that is seen. */
export function pathsOut(addresses: Addresses): Path[] {
  const at = (served: Served): Road => byNodePort(addresses, 'node1', served);
  const directly: Road = (family, index) => ({ address: addresses.outside[family], port: doorPort(index) });
  const rows: Row[] = [
    ['ClusterIP, same node', 'guest', byService('beside'), 'beside', 'beside'],
    ['ClusterIP, other node', 'guest', byService('away'), 'away', 'away'],
    ['NodePort of its node, pod on it', 'guest', at('beside'), 'beside', 'beside'],
    ['NodePort of its node, pod on another', 'guest', at('away'), 'away', 'away'],
    ['host port of its node', 'guest', byHostPort(addresses, 'node1', 'beside'), 'beside', 'beside'],
    ['masqueraded', 'guest', directly, 'outside', 'outside'],
  ];
  return rows.map(pathOf);
}

/** Not with the others, as their port is judged as well: they leave the pod with the port of the other node. */
export function pathsToOtherNode(addresses: Addresses): Path[] {
  const rows: Row[] = [
    ['NodePort of another node', 'guest', byNodePort(addresses, 'node2', 'away'), 'away', 'node2'],
    [
      'NodePort of another node and back',
      'guest',
      byNodePort(addresses, 'node2', 'beside'),
      'beside',
      'node2',
    ],
    ['host port of another node', 'guest', byHostPort(addresses, 'node2', 'away'), 'away', 'node2'],
  ];
  return rows.map(pathOf);
}

export type Question = { readonly path: Path; readonly family: Family; readonly index: number } & Target;

/** Every door or way of the path, in each family and transport that it has. */
export function questionsOf(path: Path, rules: Rules): Question[] {
  return (path.families ?? FAMILIES).flatMap((family) =>
    (path.transports ?? TRANSPORTS).flatMap((protocol) =>
      rules.map((_, index) => ({
        path,
        family,
        index,
        protocol,
        ...path.road(family, index),
        ...(path.localAddress === undefined ? {} : { localAddress: path.localAddress }),
      })),
    ),
  );
}

const SERVICE = { name: 'shown', namespace: 'shop' };

/** The client may reach the backends of a Service, whatever they are. */
export function servicesPolicy(): object {
  return {
    apiVersion: 'projectcalico.org/v3',
    kind: 'NetworkPolicy',
    metadata: { name: 'services', namespace: 'shop' },
    spec: {
      order: 10,
      selector: "app == 'guest'",
      types: ['Egress'],
      egress: [{ action: 'Allow', destination: { services: SERVICE } }],
    },
  };
}

/** The Service with this pod behind it, at the TCP port of this index. */
export function serviceManifests(addresses: Addresses, backend: Served, index: number): object[] {
  const slices = FAMILIES.map((family) => ({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      ...SERVICE,
      name: `shown-${family}`,
      labels: { 'kubernetes.io/service-name': SERVICE.name },
    },
    addressType: `IPv${family}`,
    endpoints: [{ addresses: [addresses[backend][family]], conditions: { ready: true } }],
    ports: [{ name: '', protocol: 'TCP', port: doorPort(index) }],
  }));
  const spec = { ports: [{ protocol: 'TCP', port: 80, targetPort: doorPort(index) }] };
  return [{ apiVersion: 'v1', kind: 'Service', metadata: SERVICE, spec }, ...slices];
}
