/** The world that policies are about, put together of what each part of it makes, and made anew only where something has changed. */
import type { RuleBook } from '#model/policy.ts';
import type { Backend, Endpoint, Labels, Node, PolicyWorld } from '#model/workload.ts';
import { DEFAULT_FAILSAFE } from '../failsafe.ts';
import { Hosts, type LinkOf } from './hosts.ts';
import { Nodes } from './nodes.ts';
import { Pods } from './pods.ts';
import { Services } from './services.ts';
import { compareTexts, MappedValues, SortedList, SortedValues } from './sorted.ts';
import type { Thing, ThingKind, ValueOf } from './things.ts';

/** Kinds of things that are no rules. */
export type WorldKind = Exclude<ThingKind, 'policy' | 'tier' | 'profile'>;

type Consumers = {
  /** `known`: a thing of that title, whichever, as `now` is undefined where it is gone. */
  readonly [K in WorldKind]: (now: ValueOf<K> | undefined, known: ValueOf<K>, title: string) => void;
};

export type WorldOptions = {
  readonly node: string;
  readonly linkOf: LinkOf;
  readonly failsafe: PolicyWorld['failsafe'] | undefined;
};

export class World {
  /** Another object only where it is another one: what was compiled of it is kept by identity. */
  failsafe: PolicyWorld['failsafe'];
  /** Likewise; addresses of DNS names. */
  names: PolicyWorld['names'] = new Map();
  readonly #endpoints = new SortedList<Endpoint>(compareEndpoints);
  /** Those that are no pods. */
  readonly #others = new SortedValues<Endpoint>(this.#endpoints);
  readonly #namespaces = new MappedValues<Labels>();
  readonly #accounts = new MappedValues<Labels>();
  readonly #nodeValues = new MappedValues<Node>();
  readonly #backends = new MappedValues<readonly Backend[]>();
  readonly #consumers: Consumers;
  readonly hosts: Hosts;
  readonly pods: Pods;
  readonly nodes = new Nodes((name, node) => this.#nodeValues.put(name, node));
  readonly services: Services;
  #world: PolicyWorld | undefined;

  constructor({ node, linkOf, failsafe }: WorldOptions) {
    this.failsafe = failsafe ?? DEFAULT_FAILSAFE;
    this.hosts = new Hosts({ node, linkOf }, (key, endpoint) => this.#others.put(key, endpoint));
    this.pods = new Pods(node, (gone, come) => {
      for (const pod of gone) this.#endpoints.remove(pod);
      for (const pod of come) this.#endpoints.add(pod);
    });
    this.services = new Services(
      (namespace) => this.pods.inNamespace(namespace),
      (service, backends) => this.#backends.put(service, backends),
    );
    this.#consumers = {
      endpoint: (now, _known, title) => this.hosts.put(title, now),
      pod: (now, { namespace, name }) => this.pods.putObject({ namespace, name }, now),
      service: (now, { namespace, name }) => this.services.putService(`${namespace}/${name}`, now),
      slice: (now, _known, title) => this.services.putSlice(title, now),
      endpoints: (now, { service }) => this.services.putEndpoints(service, now),
      namespace: (now, { name }) => this.#namespaces.put(name, now?.labels),
      account: (now, { name }) => this.#accounts.put(name, now?.labels),
      node: (now, { name }) => this.nodes.putObject(name, now),
    };
  }

  /** `known`: a thing of that title, to be replaced by its value `now`, or removed. */
  put<K extends WorldKind>(known: Thing & { readonly kind: K }, now: ValueOf<K> | undefined): void {
    this.#consumers[known.kind](now, known.value as ValueOf<K>, known.title);
  }

  /** The same object while nothing has changed. */
  update(profiles: RuleBook['profiles']): PolicyWorld {
    this.hosts.update(profiles);
    this.services.update(this.pods.update());
    const before = this.#world;
    const now: PolicyWorld = {
      // All of them: both put theirs into one list.
      endpoints: this.#others.list(),
      namespaces: this.#namespaces.map(),
      accounts: this.#accounts.map(),
      nodes: this.#nodeValues.map(),
      services: this.#backends.map(),
      names: this.names,
      failsafe: this.failsafe,
    };
    const keys = Object.keys(now) as readonly (keyof PolicyWorld)[];
    if (before === undefined || keys.some((key) => before[key] !== now[key])) this.#world = now;
    return this.#world ?? now;
  }
}

/** By kind, namespace, name and node. */
function compareEndpoints(a: Endpoint, b: Endpoint): number {
  return (
    compareTexts(a.kind, b.kind) ||
    compareTexts(namespaceOf(a), namespaceOf(b)) ||
    compareTexts(a.name, b.name) ||
    compareTexts(nodeOf(a), nodeOf(b))
  );
}

const namespaceOf = (endpoint: Endpoint): string =>
  endpoint.kind === 'host' ? '' : (endpoint.namespace ?? '');
const nodeOf = (endpoint: Endpoint): string => (endpoint.kind === 'pod' ? endpoint.node : '');
