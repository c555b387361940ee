/**
 * From objects of stores to what policies are asked: the rule book, and the world that it is about, kept up to date by
 * what changes. What is shown depends only on what was put in, not on when it was looked at.
 *
 *     manifests ─ readObject ─ Claims ─┬─ Rules ─▶ book
 *                                      └─ World ─▶ world
 *     pods of nodes, adverts ─────────────┘
 *
 * Nothing in force is lost by a mistake: an object that comes back wrong leaves its last good self, a tier that goes
 * while policies are in it stays. Both are told in the problems, and nothing here throws.
 */
import type { Problem } from '#model/fault.ts';
import { type Manifest, readManifests } from '#model/manifest.ts';
import type { RuleBook } from '#model/policy.ts';
import type { NamedManifest, PolicySnapshot } from '#model/policy-snapshot.ts';
import type { NodeWorkloads, PolicyWorld, Workload } from '#model/workload.ts';
import type { Address } from '#net/address.ts';
import type { Naming } from '../dns/naming.ts';
import { Claims } from './claims.ts';
import { HeldObjects } from './held.ts';
import { manifestName, originText, readObject, writeTier } from './reading.ts';
import { Rules } from './rules.ts';
import { isSame } from './sorted.ts';
import type { Thing } from './things.ts';
import { World } from './world.ts';

export type PolicyView = {
  readonly book: RuleBook;
  readonly world: PolicyWorld;
  /** What is not in force as it is written. */
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
};

export type InputOptions = {
  readonly node: string;
  /** Absent: Calico's. */
  readonly failsafe?: PolicyWorld['failsafe'];
  /** The interface of this node that has the address; asked at each view. */
  readonly linkOf?: (address: Address) => string | undefined;
  /** Of pods, services and accounts that name none; absent: `default`, as always for policies. */
  readonly defaultNamespace?: string;
};

export type PolicyInputs = {
  /**
   * Answers the problems of this object; with problems, the last good object of that name stays in force (undefined
   * removes it).
   */
  setManifest(name: string, manifest: Manifest | undefined): readonly Problem[];
  /** The object of that name cannot even be read: as if it had these problems. */
  refuseManifest(name: string, problems: readonly Problem[]): void;
  setWorkloads(node: string, workloads: NodeWorkloads | undefined): void;
  /** This node's own pods, from its ledger: they count more than what the store tells of them. */
  setOwn(pods: readonly Workload[]): void;
  /** This node's own pods as the other nodes are to know them. */
  told(): readonly Workload[];
  /** From the nodes' adverts; labels come from v1 Node manifests. */
  setNode(name: string, addresses: readonly Address[] | undefined): void;
  /** Ports of hosts that no policy closes; answers whether they are others. */
  setFailsafe(failsafe: PolicyWorld['failsafe']): boolean;
  /** Addresses of DNS names as rules have them: the same value while they are the same. */
  setNames(names: PolicyWorld['names']): void;
  /** Rules that name DNS names; the same object while they are the same. */
  naming(): Naming;
  /** Addresses of the cluster's DNS, as its services tell them. */
  dnsServers(): Address[];
  /** The same object while nothing has changed; its parts that have not changed are the objects that they were. */
  view(): PolicyView;
  /**
   * Tiers that are gone and stay because policies are in them. Whoever tells of them under these names, then of all that
   * there is, and then that they are gone, has them again: after a restart too.
   */
  retained(): readonly NamedManifest[];
  /** All that counts of what was put in. */
  snapshot(): PolicySnapshot;
};

/** No object of a store has such a name. */
const RETAINED = 'retained tier';

export function isRetainedTier(name: string): boolean {
  return name.startsWith(`${RETAINED} `);
}

export function createInputs(options: InputOptions): PolicyInputs {
  return new Inputs(options);
}

/**
 * All at once: YAML texts by the names of their files. Of objects that several documents tell of under one name, the first
 * stays.
 */
export function readInputs(texts: ReadonlyMap<string, string>, options: InputOptions): PolicyView {
  const inputs = createInputs(options);
  const first = new Map<string, Manifest>();
  const problems: Problem[] = [];
  for (const [source, text] of texts) {
    const read = readManifests(source, text);
    problems.push(...read.problems);
    for (const manifest of read.manifests) {
      const name = manifestName(manifest);
      const other = first.get(name);
      if (other !== undefined) {
        problems.push({ path: originText(manifest), message: `${name} is also in ${originText(other)}` });
        continue;
      }
      first.set(name, manifest);
      inputs.setManifest(name, manifest);
    }
  }
  const view = inputs.view();
  return { ...view, problems: [...problems, ...view.problems] };
}

class Inputs implements PolicyInputs {
  readonly #options: InputOptions;
  readonly #held = new HeldObjects();
  readonly #claims = new Claims();
  readonly #rules = new Rules();
  readonly #world: World;
  readonly #workloads = new Map<string, NodeWorkloads>();
  readonly #adverts = new Map<string, readonly Address[]>();
  #own: readonly Workload[] | undefined;
  #told: Pick<PolicyView, 'problems' | 'warnings'> | undefined;
  #view: PolicyView | undefined;

  constructor(options: InputOptions) {
    const { node, linkOf = () => undefined, failsafe } = options;
    this.#options = options;
    this.#world = new World({ node, linkOf, failsafe });
  }

  setManifest(name: string, manifest: Manifest | undefined): readonly Problem[] {
    this.#told = undefined;
    if (manifest === undefined) {
      this.#held.remove(name);
      this.#claim(name, []);
      return [];
    }
    const reading = readObject(manifest, this.#options.defaultNamespace ?? 'default');
    if (reading.problems.length > 0) this.#held.refuse(name, reading.problems);
    else {
      this.#held.accept(name, reading);
      this.#claim(name, reading.things, reading.kept);
    }
    return reading.problems;
  }

  refuseManifest(name: string, problems: readonly Problem[]): void {
    this.#told = undefined;
    this.#held.refuse(name, problems);
  }

  setWorkloads(node: string, workloads: NodeWorkloads | undefined): void {
    if (workloads === undefined) this.#workloads.delete(node);
    else this.#workloads.set(node, workloads);
    if (node === this.#options.node && this.#own !== undefined) return;
    this.#world.pods.putRuns(node, workloads?.pods ?? []);
  }

  setOwn(pods: readonly Workload[]): void {
    this.#own = pods;
    this.#world.pods.putRuns(this.#options.node, pods);
    this.#world.pods.putOwnAddresses(new Set(pods.flatMap(({ addresses }) => addresses)));
  }

  told(): readonly Workload[] {
    return this.#world.pods.told();
  }

  setNode(name: string, addresses: readonly Address[] | undefined): void {
    if (addresses === undefined) this.#adverts.delete(name);
    else this.#adverts.set(name, addresses);
    this.#world.nodes.putAddresses(name, addresses);
  }

  setFailsafe(failsafe: PolicyWorld['failsafe']): boolean {
    if (JSON.stringify(failsafe) === JSON.stringify(this.#world.failsafe)) return false;
    this.#world.failsafe = failsafe;
    return true;
  }

  setNames(names: PolicyWorld['names']): void {
    this.#world.names = names;
  }

  naming(): Naming {
    return this.#rules.naming();
  }

  dnsServers(): Address[] {
    return this.#world.services.dnsServers();
  }

  view(): PolicyView {
    const book = this.#rules.book();
    const world = this.#world.update(book.profiles);
    const before = this.#view;
    this.#told ??= {
      problems: keepSame(before?.problems, this.#problems()),
      warnings: keepSame(before?.warnings, this.#held.warnings()),
    };
    const now: PolicyView = { book, world, ...this.#told };
    const keys = Object.keys(now) as readonly (keyof PolicyView)[];
    if (before === undefined || keys.some((key) => before[key] !== now[key])) this.#view = now;
    return this.#view ?? now;
  }

  /** Under names that no object of a store has. */
  retained(): NamedManifest[] {
    return this.#rules
      .retained()
      .map((tier) => ({ name: `${RETAINED} ${tier.name}`, manifest: writeTier(tier) }));
  }

  snapshot(): PolicySnapshot {
    const { linkOf: _, ...options } = this.#options;
    return {
      ...options,
      links: this.#world.hosts.links(),
      retained: this.retained(),
      manifests: this.#held.list(),
      workloads: [...this.#workloads.values()],
      nodes: [...this.#adverts].map(([name, addresses]) => ({ name, addresses })),
      names: Array.from(this.#world.names, ([name, addresses]) => ({ name, addresses: [...addresses] })),
      ...(this.#own === undefined ? {} : { own: this.#own }),
    };
  }

  #claim(source: string, things: readonly Thing[], manifest?: Manifest): void {
    const where = (): string => (manifest === undefined ? source : originText(manifest));
    for (const [key, known] of this.#claims.set(source, things, where)) this.#pass(key, known);
  }

  /** What is in force of the thing now; `known`: what it is or was. */
  #pass(key: string, known: Thing): void {
    const now = this.#claims.get(key);
    switch (known.kind) {
      case 'policy':
        this.#rules.putPolicies(known.title, this.#claims.policies(known.title));
        break;
      case 'tier':
        this.#rules.putTier(known.value.name, now?.kind === 'tier' ? now.value : undefined);
        break;
      case 'profile':
        this.#rules.putProfile(known.value.name, now?.kind === 'profile' ? now.value : undefined);
        break;
      default:
        this.#world.put(known, now?.kind === known.kind ? now.value : undefined);
    }
  }

  #problems(): Problem[] {
    return [...this.#held.problems(), ...this.#claims.problems(), ...this.#rules.problems()];
  }
}

function keepSame<T>(before: T | undefined, now: T): T {
  return before !== undefined && isSame(before, now) ? before : now;
}
