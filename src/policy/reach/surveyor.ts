/**
 * Grids for pairs that no script can judge, by asking `evaluate` once in every cell: flows that meet host endpoints, and
 * addresses that more than one pod claims. Slow, and right because the cuts are all numbers that any rule asks about.
 */
import { DIRECTIONS, type Policy, type PeerSet, type Rule, type RuleBook } from '#model/policy.ts';
import type { Check, Flow, Step } from '#model/verdict.ts';
import type { Endpoint, HostEndpoint, NetworkSet, Pod, PolicyWorld } from '#model/workload.ts';
import type { Address } from '#net/address.ts';
import { CLUSTER, type SetKey, setKey, WITH_PORTS } from '../compile/condition.ts';
import { type Decision, type Grid, isIcmp } from '../compile/grid.ts';
import { evaluate } from '../evaluate.ts';
import { hasAddress } from '../peers.ts';
import { matchesSelector } from '#model/selector-match.ts';
import { endpointLabels } from '../selector.ts';
import type { Atlas } from './atlas.ts';
import { type Cell, type Cuts, cutRule, cutSpan, layGrids, noCuts } from './cuts.ts';
import type { End, Pair } from './judge.ts';
import type { Library } from './library.ts';

const MISSING = {};

type Subject = Pod | HostEndpoint;

/** All that matters for one pair. */
type Scene = {
  readonly pair: Pair;
  readonly subjects: readonly Subject[];
  readonly policies: ReadonlySet<Policy>;
  readonly book: RuleBook;
  readonly world: PolicyWorld;
};

export class Surveyor {
  readonly #book: RuleBook;
  readonly #atlas: Atlas;
  readonly #library: Library;
  readonly #selecting = new Map<Subject, readonly Policy[]>();
  readonly #networks: readonly NetworkSet[];

  constructor(book: RuleBook, atlas: Atlas, library: Library) {
    this.#book = book;
    this.#atlas = atlas;
    this.#library = library;
    this.#networks = atlas.world.endpoints.filter((each): each is NetworkSet => each.kind === 'network-set');
  }

  /** Sets that rules for these endpoints ask about, and the prefixes of failsafe ports. */
  setsFor(subjects: Iterable<Subject>): Map<SetKey, PeerSet> {
    const { failsafe } = this.#atlas.world;
    const prefixes = DIRECTIONS.flatMap((way) => failsafe[way].flatMap(({ prefix }) => prefix ?? []));
    const asked = [...subjects].flatMap((subject) =>
      this.#rulesFor([subject]).flatMap(({ source, destination }) =>
        [...source, ...destination].flatMap(({ anyOf }) => anyOf),
      ),
    );
    const sets = [
      ...prefixes.map((prefix): PeerSet => ({ kind: 'prefixes', prefixes: [prefix], except: [] })),
      ...asked.map((set) => (set.kind === 'entity' && set.entity === 'world' ? CLUSTER : set)),
    ];
    return new Map(sets.map((set) => [setKey(set), set]));
  }

  ends(pair: Pair): readonly End[] {
    const scene = this.#sceneOf(pair);
    const key = this.#keyOf(scene);
    let surveyed: readonly (readonly Grid[])[] | undefined;
    const survey = (): readonly (readonly Grid[])[] => (surveyed ??= this.#survey(scene));
    const { checks } = evaluate(
      scene.book,
      scene.world,
      flowIn(pair, { protocol: undefined, x: [0, 0], y: [0, 0] }),
    );
    return checks.map(({ endpoint, direction }, index) => {
      const own = `${key} ${index}`;
      const grids = (): readonly Grid[] =>
        this.#library.once(this.#library.grids, own, () => survey()[index] ?? []);
      return { key: own, endpoint, direction, grids };
    });
  }

  #sceneOf(pair: Pair): Scene {
    const hosts = pair.flatMap((at) => this.#atlas.nodesAt(at)).flatMap((node) => this.#atlas.hostsOf(node));
    const subjects = [...new Set([...pair.flatMap((at) => this.#atlas.podsAt(at)), ...hosts])];
    const policies = new Set(subjects.flatMap((subject) => this.#selectingOf(subject)));
    const networks = this.#networks.filter((each) => pair.some((at) => hasAddress(each, at)));
    const enforced = this.#book.enforced.map(({ tier, policies: all }) => ({
      tier,
      policies: all.filter((policy) => policies.has(policy)),
    }));
    const endpoints: Endpoint[] = [...subjects, ...networks];
    return {
      pair,
      subjects,
      policies,
      book: { enforced, profiles: this.#book.profiles },
      world: { ...this.#atlas.world, endpoints },
    };
  }

  #selectingOf(subject: Subject): readonly Policy[] {
    const known = this.#selecting.get(subject);
    if (known !== undefined) return known;
    const lookup = endpointLabels(this.#atlas.world, subject);
    const found = this.#book.enforced.flatMap(({ policies }) =>
      policies.filter((policy) => matchesSelector(policy.subjects, lookup)),
    );
    this.#selecting.set(subject, found);
    return found;
  }

  #rulesFor(subjects: readonly Subject[]): Rule[] {
    const policies = subjects.flatMap((subject) => this.#selectingOf(subject));
    const profiles = subjects.flatMap(({ profiles = [] }) =>
      profiles.flatMap((name) => this.#book.profiles.get(name) ?? []),
    );
    return [...policies, ...profiles].flatMap(({ ingress, egress }) => [...ingress, ...egress]);
  }

  /** All that the answers depend on. */
  #keyOf({ pair, subjects, book, world }: Scene): string {
    const tiers = book.enforced.map(({ tier, policies: own }) =>
      [tier, ...own].map((each) => this.#library.contentId(each)),
    );
    const profiles = subjects.flatMap(({ profiles = [] }) =>
      profiles.map((name) => [name, this.#library.contentId(book.profiles.get(name) ?? MISSING)]),
    );
    const text = JSON.stringify([tiers, profiles, pair, world.endpoints, this.#restId()]);
    return `survey ${this.#library.id(text)}`;
  }

  #rest: number | undefined;

  /** Of all of the world but endpoints. */
  #restId(): number {
    const { namespaces, accounts, nodes, services, names, failsafe } = this.#atlas.world;
    const listed = [...names].map(([name, addresses]) => [name, [...addresses]]);
    return (this.#rest ??= this.#library.id(
      JSON.stringify([[...namespaces], [...accounts], [...nodes], [...services], listed, failsafe]),
    ));
  }

  /** By check, as `evaluate` orders them. */
  #survey(scene: Scene): readonly (readonly Grid[])[] {
    const { pair, book, world } = scene;
    const asked = new Map<Cell, readonly Check[]>();
    const cuts = this.#cutsOf(scene);
    let count = 0;
    layGrids(cuts, (cell) => {
      const { checks } = evaluate(book, world, flowIn(pair, cell));
      asked.set(cell, checks);
      count = checks.length;
      return decisionOf(undefined);
    });
    const all = [...asked.values()];
    return Array.from({ length: count }, (_, index) => {
      let next = 0;
      return layGrids(cuts, () => decisionOf(all[next++]?.[index]));
    });
  }

  #cutsOf({ subjects, world }: Scene): Cuts {
    const cuts = noCuts();
    const rules = this.#rulesFor(subjects);
    for (const rule of rules) cutRule(cuts, rule);
    const services = rules
      .flatMap(({ destination }) => destination.flatMap(({ anyOf }) => anyOf))
      .flatMap((set) =>
        set.kind === 'service' ? (world.services.get(`${set.namespace}/${set.name}`) ?? []) : [],
      );
    const single = [...subjects.flatMap(({ ports }) => ports), ...services].map(({ protocol, port }) => ({
      protocol,
      ports: { from: port, to: port },
    }));
    const failsafe = DIRECTIONS.flatMap((way) => world.failsafe[way]);
    for (const { protocol, ports } of [...single, ...failsafe])
      for (const axis of ['x', 'y'] as const) cutSpan(cuts, protocol, axis, [ports.from, ports.to]);
    return cuts;
  }
}

/** RFC 3692: a number that no protocol has. */
const UNNAMED = 253;

function flowIn(
  [source, destination]: readonly [Address, Address],
  { protocol = UNNAMED, x, y }: Cell,
): Flow {
  if (isIcmp(protocol)) return { protocol, source, destination, icmp: { type: x[0], code: y[0] } };
  const ports = WITH_PORTS.includes(protocol) ? { destinationPort: x[0], sourcePort: y[0] } : {};
  return { protocol, source, destination, ...ports };
}

/** `by` is what decided: a rule or a default; nothing when nobody did. */
function decisionOf(check: Check | undefined): Decision {
  const last = check?.trail.at(-1);
  const isDecision = last !== undefined && ['allow', 'deny', 'redirect'].includes(last.outcome);
  const by: Step | undefined =
    check?.exempt !== undefined ? { tier: 'exempt', outcome: 'allow' } : isDecision ? last : undefined;
  return { key: JSON.stringify(by) ?? '', verdict: check?.action ?? 'allow', by, logs: [] };
}
