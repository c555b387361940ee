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
import { addFew, type Few, listFew, listOf, removeFew, type Some, someOf } from '../compile/few.ts';
import { isSame } from './sorted.ts';
import type { PodObject } from './things.ts';

type Run = { readonly node: string; workload: Workload };

/** All that is known of the pods of one name. There are tens of thousands: nothing here has a list or a key of its own. */
type Known = {
  readonly namespace: string;
  readonly name: string;
  object: PodObject | undefined;
  /** By node, of which there is mostly one. */
  runs: Some<Run>;
  /** As they were told of, with whether they were ready. */
  pods: Some<Pod>;
  ready: boolean;
};

export type PlacedPod = { readonly pod: Pod; readonly ready: boolean };

/** Of the pods of one name: those that are no more as they were, and those that are now. */
type Tell = (gone: readonly Pod[], come: readonly Pod[]) => void;

export class Pods {
  readonly #node: string;
  readonly #tell: Tell;
  /** By namespace, then by name. */
  readonly #known = new Map<string, Map<string, Known>>();
  readonly #byNode = new Map<string, readonly Workload[]>();
  /** To whom somebody else than this node's ledger gives the address. */
  readonly #claims: Few<Address, Known> = new Map();
  #own: ReadonlySet<Address> = new Set();
  readonly #dirty = new Set<Known>();
  #told: readonly Workload[] | undefined;

  constructor(node: string, tell: Tell) {
    this.#node = node;
    this.#tell = tell;
  }

  putObject(name: Pick<Known, 'namespace' | 'name'>, object: PodObject | undefined): void {
    const known = this.#get(name);
    if (runOn(this.#node, known) !== undefined) this.#told = undefined;
    this.#change(known, object, known.runs);
  }

  /** All that the node runs. */
  putRuns(node: string, workloads: readonly Workload[]): void {
    const before = this.#byNode.get(node) ?? [];
    const now = joinByName(workloads);
    if (now.size === 0) this.#byNode.delete(node);
    else this.#byNode.set(node, [...now.values()]);
    if (node === this.#node) this.#told = undefined;
    const stayed = [...now.values()].filter((workload) => this.#run(node, workload)).length;
    if (stayed === before.length) return;
    for (const workload of before) {
      if (now.has(fullName(workload))) continue;
      const known = this.#get(workload);
      this.#change(known, known.object, someOf(runsElsewhere(node, known)));
    }
  }

  /** Answers whether the node ran a pod of that name before. */
  #run(node: string, workload: Workload): boolean {
    const known = this.#get(workload);
    const run = runOn(node, known);
    // What says the same takes its place all the same: the other would be kept for this alone.
    if (run !== undefined && isSame(run.workload, workload)) run.workload = workload;
    else this.#change(known, known.object, someOf([...runsElsewhere(node, known), { node, workload }]));
    return run !== undefined;
  }

  /** Addresses that nobody else has. */
  putOwnAddresses(addresses: ReadonlySet<Address>): void {
    for (const address of addresses.symmetricDifference(this.#own))
      for (const known of listFew(this.#claims, address)) this.#dirty.add(known);
    this.#own = addresses;
  }

  /**
   * This node's pods as the others are told of them: with what their objects say, and no addresses once they have finished. The
   * same object while that is the same.
   */
  told(): readonly Workload[] {
    const own = this.#byNode.get(this.#node) ?? [];
    this.#told ??= own.map((run) => tellOf(this.#known.get(run.namespace)?.get(run.name)?.object, run));
    return this.#told;
  }

  *inNamespace(namespace: string): Generator<PlacedPod> {
    for (const { pods, ready } of this.#known.get(namespace)?.values() ?? [])
      for (const pod of listOf(pods)) yield { pod, ready };
  }

  /** Tells of every pod that is another now; answers the namespaces where any is. */
  update(): Set<string> {
    const namespaces = new Set<string>();
    for (const known of this.#dirty) {
      const before = listOf(known.pods);
      const now = this.#place(known, before);
      const gone = before.filter((pod) => !now.includes(pod));
      const come = now.filter((pod) => !before.includes(pod));
      const ready = known.object?.ready ?? true;
      if (gone.length + come.length > 0 || ready !== known.ready) namespaces.add(known.namespace);
      this.#tell(gone, come);
      [known.pods, known.ready] = [someOf(now), ready];
      if (known.object === undefined && known.runs === undefined) this.#forget(known);
    }
    this.#dirty.clear();
    return namespaces;
  }

  #get({ namespace, name }: Pick<Known, 'namespace' | 'name'>): Known {
    const names = this.#known.get(namespace);
    const known = names?.get(name);
    if (known !== undefined) return known;
    const made = { namespace, name, object: undefined, runs: undefined, pods: undefined, ready: true };
    if (names === undefined) this.#known.set(namespace, new Map([[name, made]]));
    else names.set(name, made);
    return made;
  }

  #forget({ namespace, name }: Known): void {
    const names = this.#known.get(namespace);
    names?.delete(name);
    if (names?.size === 0) this.#known.delete(namespace);
  }

  #change(known: Known, object: Known['object'], runs: Known['runs']): void {
    for (const address of claimed(known)) removeFew(this.#claims, address, known);
    [known.object, known.runs] = [object, runs];
    for (const address of claimed(known)) addFew(this.#claims, address, known);
    this.#dirty.add(known);
  }

  /** Those that say the same stay the objects that they were. */
  #place(known: Known, before: readonly Pod[]): Pod[] {
    return nodesOf(known).map((node) => {
      const pod = this.#podOn(node, known);
      return before.find((each) => isSame(each, pod)) ?? pod;
    });
  }

  #podOn(node: string, known: Known): Pod {
    const run = runOn(node, known)?.workload;
    const isOwn = run !== undefined && node === this.#node;
    const addresses = isOwn ? run.addresses : this.#withoutOwn(addressesOn(node, known));
    return makePod(node, describe(known.object, run), addresses);
  }

  /** The same list where there are none. */
  #withoutOwn(addresses: readonly Address[]): readonly Address[] {
    const isOwn = (address: Address): boolean => this.#own.has(address);
    return addresses.some(isOwn) ? addresses.filter((address) => !isOwn(address)) : addresses;
  }
}

function runsElsewhere(node: string, { runs }: Known): Run[] {
  return listOf(runs).filter((run) => run.node !== node);
}

function runOn(node: string, { runs }: Known): Run | undefined {
  return listOf(runs).find((run) => run.node === node);
}

/** Written out: V8 puts what is spread into an object in a list beside it. */
function makePod(node: string, about: ReturnType<typeof describe>, addresses: readonly Address[]): Pod {
  const { namespace, name, labels, account, ports, hostNetwork } = about;
  return { kind: 'pod', namespace, name, labels, node, account, addresses, ports, hostNetwork };
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

/** Where pods of the name are. */
function nodesOf(known: Known): string[] {
  const home = homeOf(known);
  const running = listOf(known.runs).map(({ node }) => node);
  return [...new Set([...running, ...(home === undefined ? [] : [home])])].sort();
}

/** The node of the pod that the object is about: where it says, or the only one that runs such a pod. */
function homeOf({ object, runs }: Known): string | undefined {
  if (object === undefined) return undefined;
  if (object.node !== undefined) return object.node;
  const [only, ...others] = listOf(runs);
  return others.length > 0 ? undefined : (only?.node ?? '');
}

function addressesOn(node: string, known: Known): readonly Address[] {
  const { object } = known;
  const told = runOn(node, known)?.workload.addresses ?? [];
  if (object === undefined || homeOf(known) !== node) return told;
  return object.finished || object.addresses.length > 0 ? object.addresses : told;
}

/** What the store says of addresses, wherever. */
function claimed({ object, runs }: Known): Address[] {
  const told = listOf(runs).map(({ workload }) => workload);
  return [object, ...told].flatMap((each) => each?.addresses ?? []);
}

const fullName = ({ namespace, name }: Workload): string => `${namespace}/${name}`;

/** A pod that is attached to several networks, or still leaves while it comes again, is one. */
function joinByName(workloads: readonly Workload[]): Map<string, Workload> {
  const joined = new Map<string, Workload>();
  for (const workload of workloads) {
    const key = fullName(workload);
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
