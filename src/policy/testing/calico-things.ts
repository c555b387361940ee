/** For the oracle of Calico's policies: manifests looked into without types, and whatever has labels, as Calico has it. */
import type { NamedPort, PolicyWorld } from '#model/workload.ts';
import { within } from './oracle.ts';
import { rewrite } from './selector-text.ts';

export { within };

type Labels = Readonly<Record<string, string>>;

/** A pod, a host endpoint or a network set, with its own labels and those of its namespace and account. */
export type Thing = {
  readonly kind: 'pod' | 'host' | 'set';
  readonly name: string;
  readonly bag: Labels;
  readonly nsBag: Labels;
  readonly saBag: Labels;
  readonly ns: string | undefined;
  readonly sa: string | undefined;
  readonly node: string;
  readonly iface: string;
  readonly nets: readonly string[];
  readonly ports: readonly NamedPort[];
  readonly profiles: readonly string[] | undefined;
};

export function at(value: unknown, ...path: readonly string[]): unknown {
  const inner = path.reduce<unknown>(
    (here, key) => (here as Record<string, unknown> | undefined)?.[key],
    value,
  );
  return inner ?? undefined;
}
export const list = (value: unknown, ...path: readonly string[]): unknown[] =>
  (at(value, ...path) as unknown[]) ?? [];
export const text = (value: unknown, ...path: readonly string[]): string =>
  (at(value, ...path) as string) ?? '';
export const number = (value: unknown, ...path: readonly string[]): number | undefined =>
  at(value, ...path) as number | undefined;

/** Nothing said is everything; `all`: what all() says. */
export function matches(
  selector: string,
  labels: Labels,
  { all }: { readonly all: boolean } = { all: true },
): boolean {
  return selector === '' || rewrite(selector, labels, all);
}

export function isIn({ nets }: Thing, ip: string): boolean {
  return nets.some((net) => within(ip, net.includes('/') ? net : `${net}/${net.includes(':') ? 128 : 32}`));
}

const NOTHING = {
  sa: undefined,
  saBag: {},
  nsBag: {},
  ns: undefined,
  node: '',
  iface: '',
  ports: [],
  profiles: undefined,
};

/** Pods of the world; sets and hosts of the manifests. */
export function thingsOf(objects: readonly object[], world: PolicyWorld): Thing[] {
  const pods = world.endpoints.flatMap((each): Thing[] => {
    if (each.kind !== 'pod' || each.hostNetwork) return [];
    const { namespace: ns, account: sa, labels, name, node, ports, profiles, addresses: nets } = each;
    const orchestrator = { 'projectcalico.org/orchestrator': 'k8s', 'projectcalico.org/serviceaccount': sa };
    const saBag = { ...world.accounts.get(`${ns}/${sa}`), 'projectcalico.org/name': sa };
    return [
      inNamespace(
        {
          ...NOTHING,
          kind: 'pod',
          name,
          bag: { ...labels, ...orchestrator, ...prefixed('pcsa.', saBag) },
          ns,
          sa,
          saBag,
          node,
          ports,
          profiles,
          nets,
        },
        world,
      ),
    ];
  });
  const others = objects.flatMap((o): Thing[] => {
    const base = {
      ...NOTHING,
      name: text(o, 'metadata', 'name'),
      bag: (at(o, 'metadata', 'labels') ?? {}) as Labels,
    };
    if (text(o, 'kind') === 'HostEndpoint') return [hostThing(o, base, objects)];
    const set = { ...base, kind: 'set', nets: list(o, 'spec', 'nets') as string[] } as const;
    if (text(o, 'kind') === 'GlobalNetworkSet') return [set];
    return text(o, 'kind') === 'NetworkSet'
      ? [inNamespace({ ...set, ns: text(o, 'metadata', 'namespace') }, world)]
      : [];
  });
  return [...pods, ...others];
}

function inNamespace(thing: Thing, world: PolicyWorld): Thing {
  const ns = thing.ns ?? '';
  const nsBag = {
    ...world.namespaces.get(ns),
    'kubernetes.io/metadata.name': ns,
    'projectcalico.org/name': ns,
  };
  return {
    ...thing,
    nsBag,
    bag: { ...thing.bag, 'projectcalico.org/namespace': ns, ...prefixed('pcns.', nsBag) },
  };
}

function prefixed(prefix: string, labels: Labels): Labels {
  return Object.fromEntries(Object.entries(labels).map(([key, value]) => [prefix + key, value]));
}

function hostThing(o: object, base: Omit<Thing, 'kind' | 'nets'>, objects: readonly object[]): Thing {
  const profiles = list(o, 'spec', 'profiles') as string[];
  const inherited = profiles.map((name) => {
    const isIt = (each: object): boolean =>
      text(each, 'kind') === 'Profile' && text(each, 'metadata', 'name') === name;
    return (at(objects.find(isIt), 'spec', 'labelsToApply') ?? {}) as Labels;
  });
  const bag: Labels = Object.fromEntries([...inherited.toReversed(), base.bag].flatMap(Object.entries));
  const numbers: Readonly<Record<string, number>> = { TCP: 6, UDP: 17, SCTP: 132 };
  const ports = list(o, 'spec', 'ports').map((p) => ({
    name: text(p, 'name'),
    protocol: numbers[text(p, 'protocol')] ?? 0,
    port: number(p, 'port') ?? 0,
  }));
  const nets = list(o, 'spec', 'expectedIPs') as string[];
  return {
    ...base,
    kind: 'host',
    bag,
    profiles,
    ports,
    nets,
    node: text(o, 'spec', 'node'),
    iface: text(o, 'spec', 'interfaceName'),
  };
}
