/**
 * The world by the plainest means: all that was told last, read by hand, without any of what the room does to follow
 * changes. Objects are right: what is wrong is not its business.
 */
import type {
  Backend,
  HostEndpoint,
  Labels,
  NamedPort,
  Node,
  Pod,
  PolicyWorld,
  Workload,
} from '#model/workload.ts';
import { type Address, addressFamily, compareAddresses } from '#net/address.ts';

export type Told =
  | { readonly what: 'object'; readonly name: string; readonly value: unknown }
  | { readonly what: 'workloads'; readonly node: string; readonly pods: readonly Workload[] | undefined }
  | { readonly what: 'own'; readonly pods: readonly Workload[] }
  | { readonly what: 'node'; readonly node: string; readonly addresses: readonly Address[] | undefined }
  | { readonly what: 'look' };

type Port = { name?: string; containerPort: number; protocol?: string };
type ServicePort = { port: number; targetPort?: number | string; protocol?: string };
type Raw = {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly labels?: Labels };
  readonly spec: {
    readonly nodeName?: string;
    readonly serviceAccountName?: string;
    readonly hostNetwork?: boolean;
    readonly containers: { readonly ports?: Port[] }[];
    readonly initContainers: { readonly ports?: Port[]; readonly restartPolicy?: string }[];
    readonly selector?: Labels;
    readonly ports: ServicePort[];
    readonly ipFamilies?: string[];
    readonly publishNotReadyAddresses?: boolean;
    readonly node: string;
    readonly interfaceName: string;
    readonly expectedIPs: Address[];
    readonly profiles: string[];
    readonly labelsToApply?: Labels;
  };
  readonly status: {
    readonly phase?: string;
    readonly podIPs: { readonly ip: Address }[];
    readonly conditions?: { readonly status: string }[];
    readonly addresses: { readonly type: string; readonly address: Address }[];
  };
  readonly endpoints: {
    readonly addresses: Address[];
    readonly conditions: { readonly ready?: boolean; readonly serving?: boolean };
  }[];
  readonly subsets: { readonly addresses: { readonly ip: Address }[] }[];
};

type Place = { readonly node: string; readonly linkOf: (address: Address) => string | undefined };

type Facts = {
  readonly objects: readonly Raw[];
  readonly runs: ReadonlyMap<string, readonly Workload[]>;
  readonly own: readonly Workload[];
  readonly adverts: ReadonlyMap<string, readonly Address[]>;
};

export function plainWorld(
  list: readonly Told[],
  place: Place,
): Partial<PolicyWorld> & Pick<PolicyWorld, 'services'> {
  const facts = factsOf(list, place.node);
  const named = (kind: string): Raw[] => facts.objects.filter((each) => each.kind === kind);
  const pods = plainPods(facts, place.node);
  const hosts = named('HostEndpoint').map((each) => plainHost(each, named('Profile'), place));
  return {
    endpoints: [...hosts, ...pods],
    namespaces: new Map(
      named('Namespace').map(({ metadata: { name, labels } }) => [
        name,
        { ...labels, 'kubernetes.io/metadata.name': name },
      ]),
    ),
    accounts: new Map(named('ServiceAccount').map(({ metadata }) => [idOf(metadata), metadata.labels ?? {}])),
    nodes: plainNodes(named('Node'), facts.adverts),
    services: plainServices(facts.objects, pods),
  };
}

function factsOf(list: readonly Told[], node: string): Facts {
  const objects = new Map<string, Raw>();
  const runs = new Map<string, readonly Workload[]>();
  const adverts = new Map<string, readonly Address[]>();
  let own: readonly Workload[] | undefined;
  for (const told of list) {
    if (told.what === 'object') put(objects, told.name, told.value as Raw | undefined);
    if (told.what === 'workloads') put(runs, told.node, told.pods);
    if (told.what === 'node') put(adverts, told.node, told.addresses);
    if (told.what === 'own') own = told.pods;
  }
  if (own !== undefined) runs.set(node, own);
  return { objects: [...objects.values()], runs, own: own ?? [], adverts };
}

function put<T>(map: Map<string, T>, key: string, value: T | undefined): void {
  if (value === undefined) map.delete(key);
  else map.set(key, value);
}

const idOf = ({ namespace, name }: Raw['metadata']): string => `${namespace}/${name}`;

function plainPods({ objects, runs, own }: Facts, self: string): Pod[] {
  const written = new Map(
    objects.filter(({ kind }) => kind === 'Pod').map((each) => [idOf(each.metadata), each]),
  );
  const running = [...runs].flatMap(([node, pods]) => pods.map((pod) => ({ node, pod })));
  const ids = new Set([...written.keys(), ...running.map(({ pod }) => `${pod.namespace}/${pod.name}`)]);
  const taken = new Set(own.flatMap(({ addresses }) => addresses));
  return [...ids].sort().flatMap((id) => {
    const object = written.get(id);
    const here = running.filter(({ pod }) => `${pod.namespace}/${pod.name}` === id);
    const at = new Set(here.map(({ node }) => node));
    const guess = at.size > 1 ? undefined : ([...at][0] ?? '');
    const home = object === undefined ? undefined : (object.spec.nodeName ?? guess);
    if (home !== undefined) at.add(home);
    return [...at].sort().map((node): Pod => {
      const mine = here.filter((each) => each.node === node).map(({ pod }) => pod);
      const told = [...new Set(mine.flatMap(({ addresses }) => addresses))].sort();
      const stated = object !== undefined && home === node ? statedAddresses(object) : undefined;
      const others = (stated ?? told).filter((each) => !taken.has(each));
      const [namespace = '', name = ''] = id.split('/');
      const isRun = mine.length > 0;
      return {
        kind: 'pod',
        namespace,
        name,
        node,
        addresses: isRun && node === self ? told : others,
        ...plainSpec(object, mine),
        hostNetwork: !isRun && object?.spec.hostNetwork === true,
      };
    });
  });
}

function plainSpec(
  object: Raw | undefined,
  runs: readonly Workload[],
): Pick<Pod, 'labels' | 'account' | 'ports'> {
  return {
    labels: object?.metadata.labels ?? Object.assign({}, ...runs.map(({ labels }) => labels)),
    account: object?.spec.serviceAccountName || 'default',
    ports: object === undefined ? [] : plainPorts(object),
  };
}

/** Undefined: it says nothing. */
function statedAddresses({ status: { phase, podIPs } }: Raw): Address[] | undefined {
  if (phase === 'Succeeded' || phase === 'Failed') return [];
  return podIPs.length === 0 ? undefined : podIPs.map(({ ip }) => ip);
}

function plainPorts({ spec }: Raw): NamedPort[] {
  const sidecars = spec.initContainers.filter(({ restartPolicy }) => restartPolicy === 'Always');
  return [...spec.containers, ...sidecars]
    .flatMap(({ ports = [] }) => ports)
    .filter(({ name }) => name !== undefined)
    .map(({ name = '', protocol, containerPort }) => ({
      name,
      protocol: numberOf(protocol),
      port: containerPort,
    }));
}

const numberOf = (protocol = 'TCP'): number => (protocol === 'UDP' ? 17 : 6);

function plainHost({ metadata, spec }: Raw, profiles: readonly Raw[], { node, linkOf }: Place): HostEndpoint {
  const inherited = profiles.find((each) => spec.profiles.includes(each.metadata.name));
  const link =
    spec.node === node ? spec.expectedIPs.map(linkOf).find((each) => each !== undefined) : undefined;
  return {
    kind: 'host',
    name: metadata.name,
    labels: { ...inherited?.spec.labelsToApply, ...metadata.labels },
    node: spec.node,
    interface: spec.interfaceName || (link ?? ''),
    addresses: spec.expectedIPs,
    ports: [],
    profiles: spec.profiles,
  };
}

function plainNodes(objects: readonly Raw[], adverts: Facts['adverts']): Map<string, Node> {
  const names = [...objects.map(({ metadata }) => metadata.name), ...adverts.keys()];
  return new Map(
    names.map((name) => {
      const object = objects.find(({ metadata }) => metadata.name === name);
      const written = object?.status.addresses.filter(({ type }) => type === 'InternalIP') ?? [];
      const all = [...(adverts.get(name) ?? []), ...written.map(({ address }) => address)];
      return [name, { labels: object?.metadata.labels ?? {}, addresses: [...new Set(all)].sort() }];
    }),
  );
}

function plainServices(objects: readonly Raw[], pods: readonly Pod[]): Map<string, readonly Backend[]> {
  const found = new Map<string, readonly Backend[]>();
  const ready = (pod: Pod): boolean => {
    const object = objects.find(({ kind, metadata }) => kind === 'Pod' && idOf(metadata) === idOf(pod));
    const isDone = /Succeeded|Failed/.test(object?.status.phase ?? '');
    return !isDone && object?.status.conditions?.[0]?.status !== 'False';
  };
  for (const { kind, metadata, spec } of objects) {
    if (kind !== 'Service') continue;
    const chosen = pods.filter(
      (pod) =>
        pod.namespace === metadata.namespace &&
        Object.keys(spec.selector ?? {}).length > 0 &&
        Object.entries(spec.selector ?? {}).every(([key, value]) => pod.labels[key] === value) &&
        (ready(pod) || spec.publishNotReadyAddresses === true),
    );
    const backends = chosen.flatMap((pod) =>
      pod.addresses
        .filter((each) => spec.ipFamilies?.includes(`IPv${addressFamily(each)}`) ?? true)
        .flatMap((each) => spec.ports.flatMap((port) => backendOf(pod, each, port))),
    );
    found.set(idOf(metadata), ordered(backends));
  }
  for (const { kind, metadata, subsets } of objects) {
    if (kind !== 'Endpoints') continue;
    const addresses = subsets.flatMap((each) => each.addresses.map(({ ip }) => ip));
    found.set(idOf(metadata), ordered(addresses.map((each) => ({ address: each, protocol: 6, port: 80 }))));
  }
  const slices = objects.filter(({ kind }) => kind === 'EndpointSlice');
  for (const namespace of new Set(slices.map(({ metadata }) => metadata.namespace))) {
    const serving = slices
      .filter(({ metadata }) => metadata.namespace === namespace)
      .flatMap(({ endpoints }) => endpoints)
      .filter(({ conditions: { ready = true, serving = ready } }) => ready || serving);
    const addresses = serving.flatMap((each) => each.addresses);
    found.set(`${namespace}/s`, ordered(addresses.map((each) => ({ address: each, protocol: 6, port: 80 }))));
  }
  return found;
}

function backendOf(pod: Pod, address: Address, { port, targetPort, protocol }: ServicePort): Backend[] {
  const number = numberOf(protocol);
  const named = pod.ports.find((each) => each.name === targetPort && each.protocol === number)?.port;
  const target = typeof targetPort === 'string' ? named : (targetPort ?? port);
  return target === undefined ? [] : [{ address, protocol: number, port: target }];
}

function ordered(backends: readonly Backend[]): Backend[] {
  const once = backends.filter(
    (each, index) => backends.findIndex((other) => JSON.stringify(other) === JSON.stringify(each)) === index,
  );
  return once.sort(
    (a, b) => compareAddresses(a.address, b.address) || a.protocol - b.protocol || a.port - b.port,
  );
}
