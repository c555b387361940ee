/**
 * Nodes that leave, in two steps. Where Kubernetes tells which nodes there are, the advert of one that it no longer has is
 * questioned and removed. Whatever else belongs to a node without an advert (claims on subnets, published pods) goes
 * the same way; its blocks are ./blocks-reclaim.ts's.
 */
import type { Brake } from './brake.ts';
import type { FencedStore } from './fence.ts';
import { Inquest } from './inquest.ts';
import type { Clock } from '#lib/clock.ts';
import type { Events } from '#lib/log.ts';
import type { SubnetClaim } from '#model/world.ts';
import type { Stored } from '#stores/store.ts';

type Objects = ReadonlyMap<string, Stored>;

export type DeparturesOptions = {
  readonly store: FencedStore;
  readonly clock: Clock;
  readonly events: Pick<Events, 'add'>;
  readonly identity: string;
  readonly graceMs: number;
  readonly answerMs: number;
  readonly brake: Pick<Brake, 'allows'>;
  /** What is known; asked once all of it has been told. */
  readonly objects: {
    readonly Node: Objects;
    readonly SubnetClaim: Objects;
    readonly Workloads: Objects;
    /** Undefined: nobody tells which nodes there are but they themselves. */
    readonly nodeObjects: (() => ReadonlySet<string>) | undefined;
  };
};

type Suspicion = {
  readonly inquest: Inquest;
  readonly what: string;
  readonly suspects: readonly Stored[];
  readonly nodeOf: (object: Stored) => string;
  /** Asked of the store directly. */
  readonly isGone: (node: string) => Promise<boolean>;
};

export class Departures {
  readonly #options: DeparturesOptions;
  readonly #adverts: Inquest;
  readonly #claims: Inquest;
  readonly #pods: Inquest;
  /** Taken for gone at the last look. */
  #leaving: ReadonlySet<string> = new Set();

  constructor(options: DeparturesOptions) {
    this.#options = options;
    const { events } = options;
    const tell = (nodeOf: (object: Stored) => string, text: (name: string) => string) => (object: Stored) =>
      events.add('warning', text(object.name), { aboutNode: nodeOf(object) });
    const removed = {
      Node: tell(
        nameOf,
        (name) => `node ${name} is not in Kubernetes and does not answer: its advert is removed`,
      ),
      SubnetClaim: tell(claimant, (name) => `the claim ${name} is removed: its node is gone`),
      Workloads: tell(nameOf, (name) => `the pods of node ${name}, which is gone, are removed`),
    };
    const open = (kind: keyof typeof removed): Inquest =>
      new Inquest({ ...options, kind, onRemoved: removed[kind] });
    this.#adverts = open('Node');
    this.#claims = open('SubnetClaim');
    this.#pods = open('Workloads');
  }

  /** Names of nodes whose grace is over. */
  get leaving(): ReadonlySet<string> {
    return this.#leaving;
  }

  async look(): Promise<void> {
    const suspicions = [this.#strangers(), this.#orphanClaims(), this.#orphanPods()];
    const due = suspicions.map((suspicion) => suspicion.inquest.due(suspicion.suspects));
    this.#leaving = new Set(suspicions.flatMap(({ nodeOf }, index) => due[index]?.map(nodeOf) ?? []));
    for (const [index, suspicion] of suspicions.entries()) await this.#pursue(suspicion, due[index] ?? []);
  }

  async #pursue({ inquest, what, nodeOf, isGone }: Suspicion, due: readonly Stored[]): Promise<void> {
    const gone = new Set(due.map(nodeOf));
    if (!this.#options.brake.allows(what, gone.size, this.#known().size)) return;
    for (const object of due) await inquest.pursue(object, () => isGone(nodeOf(object)));
  }

  /** Nodes that anything is known of. */
  #known(): Set<string> {
    const { Node, SubnetClaim, nodeObjects } = this.#options.objects;
    return new Set([...Node.keys(), ...[...SubnetClaim.values()].map(claimant), ...(nodeObjects?.() ?? [])]);
  }

  #strangers(): Suspicion {
    const { store, objects } = this.#options;
    const told = objects.nodeObjects?.() ?? new Set();
    return {
      inquest: this.#adverts,
      what: 'are not in Kubernetes any more',
      suspects: told.size === 0 ? [] : [...objects.Node.values()].filter(({ name }) => !told.has(name)),
      nodeOf: nameOf,
      isGone: async (node) => (await store.get('Manifest', `v1/Node/${node}`)) === undefined,
    };
  }
  #orphanClaims(): Suspicion {
    const { Node, SubnetClaim } = this.#options.objects;
    const isOrphan = (object: Stored): boolean =>
      !(object.value as SubnetClaim).reserved && !Node.has(claimant(object));
    return {
      inquest: this.#claims,
      what: 'have a subnet and no advert',
      suspects: [...SubnetClaim.values()].filter(isOrphan),
      nodeOf: claimant,
      isGone: (node) => this.#isUnadvertised(node),
    };
  }
  #orphanPods(): Suspicion {
    const { Node, Workloads } = this.#options.objects;
    return {
      inquest: this.#pods,
      what: 'have pods and no advert',
      suspects: [...Workloads.values()].filter(({ name }) => !Node.has(name)),
      nodeOf: nameOf,
      isGone: (node) => this.#isUnadvertised(node),
    };
  }
  async #isUnadvertised(node: string): Promise<boolean> {
    return (await this.#options.store.get('Node', node)) === undefined;
  }
}

function nameOf({ name }: Stored): string {
  return name;
}

function claimant({ value }: Stored): string {
  return (value as SubnetClaim).node;
}
