/**
 * Pods, as three tell of them. Where they say different things of one pod:
 *
 *     labels, ports, account     the Pod object; without it, or where it has no labels, the agent that runs the pod,
 *                                which tells what its Pod object says, as agents need not read those of other nodes
 *     addresses                  this node's own ledger; the Pod object; the agent that runs the pod
 *
 * Runtimes that know no cluster may run pods of one name on several nodes: each is an endpoint, and a Pod object of that
 * name describes them all. Addresses of this node's own pods belong to nobody else.
 */
import type { Pod, Workload } from '#model/workload.ts';
import type { Address } from '#net/address.ts';
import { addFew, type Few, removeFew } from '../compile/few.ts';
import { addTo, type Multimap, removeFrom } from '../compile/multimap.ts';
import { isSame } from './sorted.ts';
import type { PodObject } from './things.ts';

/** By node, of which there is mostly one. */
type Runs = readonly (readonly [node: string, workload: Workload])[];

/** All that is known of the pods of one name. */
type Known = { readonly object?: PodObject; readonly runs: Runs };

export type PlacedPod = { readonly pod: Pod; readonly ready: boolean };

/** By a key that no other pod has; undefined: it is no more. */
type Tell = (key: string, pod: Pod | undefined) => void;

export class Pods {
  readonly #node: string;
  readonly #tell: Tell;
  readonly #known = new Map<string, Known>();
  readonly #placed = new Map<string, readonly PlacedPod[]>();
  readonly #byNamespace: Multimap<string, string> = new Map();
  readonly #byNode = new Map<string, ReadonlyMap<string, Workload>>();
  /** Names of pods that somebody else than this node's ledger gives the address. */
  readonly #claims: Few<Address, string> = new Map();
  #own: ReadonlySet<Address> = new Set();
  readonly #dirty = new Set<string>();

  constructor(node: string, tell: Tell) {
    this.#node = node;
    this.#tell = tell;
  }

  putObject(name: string, object: PodObject | undefined): void {
    const { runs } = this.#known.get(name) ?? NOTHING;
    this.#remember(name, object === undefined ? { runs } : { object, runs });
  }

  /** All that the node runs. */
  putRuns(node: string, workloads: readonly Workload[]): void {
    const before = this.#byNode.get(node) ?? new Map<string, Workload>();
    const now = joinByName(workloads);
    if (now.size === 0) this.#byNode.delete(node);
    else this.#byNode.set(node, now);
    for (const name of new Set([...before.keys(), ...now.keys()])) {
      if (isSame(before.get(name), now.get(name))) continue;
      const known = this.#known.get(name) ?? NOTHING;
      const others = known.runs.filter(([other]) => other !== node);
      const run = now.get(name);
      this.#remember(name, { ...known, runs: run === undefined ? others : others.concat([[node, run]]) });
    }
  }

  /** Addresses that nobody else has. */
  putOwnAddresses(addresses: ReadonlySet<Address>): void {
    for (const address of addresses.symmetricDifference(this.#own))
      for (const name of this.#claims.get(address) ?? []) this.#dirty.add(name);
    this.#own = addresses;
  }

  /** This node's pods as the others are told of them: with what their objects say, and no addresses once they have finished. */
  told(): Workload[] {
    const own = this.#byNode.get(this.#node) ?? new Map<string, Workload>();
    return Array.from(own, ([name, run]) => tellOf(this.#known.get(name)?.object, run));
  }

  *inNamespace(namespace: string): Generator<PlacedPod> {
    for (const name of this.#byNamespace.get(namespace) ?? []) yield* this.#placed.get(name) ?? [];
  }

  /** Tells of every pod that is another now; answers the namespaces where any is. */
  update(): Set<string> {
    const namespaces = new Set<string>();
    for (const name of this.#dirty) {
      const before = this.#placed.get(name) ?? [];
      const now = this.#place(name);
      if (isSame(before, now)) continue;
      this.#list(name, before, now);
      for (const { pod } of [...before, ...now]) namespaces.add(pod.namespace);
    }
    this.#dirty.clear();
    return namespaces;
  }

  #remember(name: string, known: Known): void {
    for (const address of claimed(this.#known.get(name))) removeFew(this.#claims, address, name);
    for (const address of claimed(known)) addFew(this.#claims, address, name);
    if (known.object === undefined && known.runs.length === 0) this.#known.delete(name);
    else this.#known.set(name, known);
    this.#dirty.add(name);
  }

  #place(name: string): PlacedPod[] {
    const known = this.#known.get(name);
    if (known === undefined) return [];
    const ready = known.object?.ready ?? true;
    return nodesOf(known).map((node) => ({ pod: this.#podOn(node, known), ready }));
  }

  #list(name: string, before: readonly PlacedPod[], now: readonly PlacedPod[]): void {
    for (const { pod } of before) {
      removeFrom(this.#byNamespace, pod.namespace, name);
      this.#tell(podKey(pod), undefined);
    }
    for (const { pod } of now) {
      addTo(this.#byNamespace, pod.namespace, name);
      this.#tell(podKey(pod), pod);
    }
    if (now.length === 0) this.#placed.delete(name);
    else this.#placed.set(name, now);
  }

  #podOn(node: string, known: Known): Pod {
    const run = runOn(node, known);
    const about = describe(known.object, run);
    if (run !== undefined && node === this.#node)
      return { kind: 'pod', ...about, node, addresses: run.addresses };
    const addresses = addressesOn(node, known).filter((address) => !this.#own.has(address));
    return { kind: 'pod', ...about, node, addresses };
  }
}

const NOTHING: Known = { runs: [] };

function runOn(node: string, { runs }: Known): Workload | undefined {
  return runs.find(([other]) => other === node)?.[1];
}

/** At least one of both is there. */
function describe(object: PodObject | undefined, run: Workload | undefined) {
  const { namespace, name } = (object ?? run) as PodObject | Workload;
  const { account, ports, hostNetwork } = object ?? { ...PLAIN, ...run };
  // What has a network of its own is a pod of its own, whatever is written of it.
  const isHost = hostNetwork && run === undefined;
  return {
    namespace,
    name,
    labels: object?.labels ?? run?.labels ?? {},
    account,
    ports,
    hostNetwork: isHost,
  };
}

/** What no runtime tells. */
const PLAIN = { account: 'default', ports: [], hostNetwork: false };

function tellOf(object: PodObject | undefined, run: Workload): Workload {
  if (object === undefined) return run;
  const { namespace, name, addresses, labels } = run;
  return {
    namespace,
    name,
    addresses: object.finished ? [] : addresses,
    labels: object.labels ?? labels,
    ...(object.account === PLAIN.account ? {} : { account: object.account }),
    ...(object.ports.length === 0 ? {} : { ports: object.ports }),
  };
}

const podKey = ({ namespace, name, node }: Pod): string => `pod ${namespace}/${name} ${node}`;

/** Where pods of the name are. */
function nodesOf(known: Known): string[] {
  const home = homeOf(known);
  return [...new Set([...known.runs.map(([node]) => node), ...(home === undefined ? [] : [home])])].sort();
}

/** The node of the pod that the object is about: where it says, or the only one that runs such a pod. */
function homeOf({ object, runs }: Known): string | undefined {
  if (object === undefined) return undefined;
  if (object.node !== undefined) return object.node;
  const [only, ...others] = runs;
  return others.length > 0 ? undefined : (only?.[0] ?? '');
}

function addressesOn(node: string, known: Known): readonly Address[] {
  const { object } = known;
  const told = runOn(node, known)?.addresses ?? [];
  if (object === undefined || homeOf(known) !== node) return told;
  return object.finished || object.addresses.length > 0 ? object.addresses : told;
}

/** What the store says of addresses, wherever. */
function claimed(known: Known | undefined): Address[] {
  if (known === undefined) return [];
  return [known.object, ...known.runs.map(([, run]) => run)].flatMap((each) => each?.addresses ?? []);
}

/** A pod that is attached to several networks, or still leaves while it comes again, is one. */
function joinByName(workloads: readonly Workload[]): Map<string, Workload> {
  const joined = new Map<string, Workload>();
  for (const workload of workloads) {
    const { namespace, name } = workload;
    const key = `${namespace}/${name}`;
    const known = joined.get(key);
    joined.set(key, known === undefined ? inOrder(workload) : joinTwo(known, workload));
  }
  return joined;
}

function joinTwo(first: Workload, { addresses, labels }: Workload): Workload {
  return {
    ...first,
    addresses: [...new Set([...first.addresses, ...addresses])].sort(),
    labels: { ...first.labels, ...labels },
  };
}

/** Of hundreds that are told again, one has changed. */
const ordered = new WeakMap<Workload, Workload>();

function inOrder(workload: Workload): Workload {
  if (workload.addresses.length < 2) return workload;
  const known = ordered.get(workload);
  if (known !== undefined) return known;
  const now = { ...workload, addresses: [...new Set(workload.addresses)].sort() };
  ordered.set(workload, now);
  return now;
}
