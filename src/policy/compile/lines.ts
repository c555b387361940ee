/**
 * Everything that is asked of flows of one address in one direction, in order: the tiers' rules as lines, with all that
 * concerns the own end settled. Equal to asking #policy/tiers.ts, which has the meaning.
 */
import type { Direction, End, OrderedTier, PeerSet, Policy, Rule, RuleBook } from '#model/policy.ts';
import type { Decided } from '#model/policy-program.ts';
import type { Step } from '#model/verdict.ts';
import type { NetworkSet, Pod, PolicyWorld } from '#model/workload.ts';
import { type Address, addressFamily, type Family } from '#net/address.ts';
import { policyName } from '../book.ts';
import { isPeer } from '../peers.ts';
import {
  EVERY_BOX,
  knownPortTerms,
  type NamedPortSet,
  openClauses,
  OWN_NODE,
  peerTerm,
  portBox,
  type SetKey,
  setKey,
  type Term,
  type TermClause,
  termClause,
  trafficTerms,
} from './condition.ts';

export type Line = {
  readonly effect: Decided | 'pass' | 'log';
  readonly clauses: readonly TermClause[];
  readonly step: Step;
  /** The same for the same rule of the same policy, whatever peers and traffic stand in it. */
  readonly key: string;
  readonly exempt?: 'own-node' | 'failsafe';
};

/** Lines are asked one after another; what they leave undecided meets `otherwise`, or goes on to the next stage. */
export type Stage = { readonly lines: readonly Line[]; readonly otherwise?: Step };

export type Script = {
  readonly stages: readonly Stage[];
  /** What follows when no stage decided: profiles that say nothing deny. */
  readonly end: Step | undefined;
  /** Sets of peers that lines ask about. */
  readonly sets: ReadonlyMap<SetKey, PeerSet | undefined>;
  /** It is settled by more than the policies and the pod: by the sets that the own address is in. */
  readonly looksAtWorld: boolean;
};

export type Selected = { readonly tier: OrderedTier['tier']; readonly policies: readonly Policy[] };

/** What lines come to at the end whose policies are asked. */
export type OwnEnd = {
  readonly family: Family;
  peer(set: PeerSet, end: End): readonly Term[];
  port(set: NamedPortSet): readonly Term[];
};

/** Whom the lines are for. `networks`: all network sets of the world, of which some may hold the address. */
export type Own = {
  readonly pod: Pod;
  readonly address: Address;
  readonly networks: readonly NetworkSet[];
};

export const DENIED: Step = { tier: 'profiles', outcome: 'deny' };

/** Undefined: no policy and no profile has anything to say. */
export function writeScript(
  book: RuleBook,
  world: PolicyWorld,
  own: Own,
  { direction, tiers }: { readonly direction: Direction; readonly tiers: readonly Selected[] },
): Script | undefined {
  const end = new PodEnd(world, own);
  const context = new Context(end, direction);
  const stages = tiers.flatMap((selected) => tierStage(context, selected));
  const { profiles } = own.pod;
  if (stages.length === 0 && profiles === undefined) return undefined;
  if (profiles !== undefined) stages.push(profileStage(context, book, profiles));
  const first = direction === 'ingress' ? [{ lines: [context.ownNode()] }] : [];
  return {
    stages: [...first, ...stages],
    end: profiles === undefined ? undefined : DENIED,
    sets: context.sets,
    looksAtWorld: end.looksAtWorld,
  };
}

export function tierStage(context: Context, { tier, policies }: Selected): Stage[] {
  const isolated = policies.some((policy) => policy.isolates[context.direction]);
  const lines = policies.flatMap((policy) => {
    const name = policyName(policy);
    return context.lines(policy[context.direction], { tier: tier.name, policy: name });
  });
  if (isolated && tier.defaultAction === 'deny' && context.defaults)
    return [{ lines, otherwise: { tier: tier.name, outcome: 'deny' } }];
  return lines.length === 0 ? [] : [{ lines }];
}

/** Missing profiles, and rules that pass, end the profiles: nothing behind them is asked. */
export function profileStage(context: Context, book: RuleBook, names: readonly string[]): Stage {
  const lines: Line[] = [];
  for (const name of names) {
    const profile = book.profiles.get(name);
    if (profile === undefined) break;
    const rules = profile[context.direction];
    lines.push(...context.lines(rules, { tier: 'profiles', policy: `Profile ${name}` }));
  }
  return {
    lines: lines.map((line) => (line.effect === 'pass' ? { ...line, effect: 'deny' } : line)),
    otherwise: DENIED,
  };
}

/** How rules are read: what being allowed by one comes to, and whether tiers end in their default action. */
export type Manner = { readonly allow: Exclude<Decided, 'deny'>; readonly defaults: boolean };

/** Collects the sets that lines ask about. */
export class Context {
  readonly sets = new Map<SetKey, PeerSet | undefined>();
  readonly direction: Direction;
  readonly defaults: boolean;
  readonly #own: OwnEnd;
  readonly #end: End;
  readonly #allow: Manner['allow'];

  constructor(
    own: OwnEnd,
    direction: Direction,
    { allow, defaults }: Manner = { allow: 'allow', defaults: true },
  ) {
    this.direction = direction;
    this.defaults = defaults;
    this.#own = own;
    this.#allow = allow;
    this.#end = direction === 'egress' ? 'source' : 'destination';
  }

  lines(rules: readonly Rule[], about: Pick<Step, 'tier' | 'policy'>): Line[] {
    return rules.flatMap((rule, index) => {
      const clauses = this.clauses(rule);
      if (clauses === undefined) return [];
      const { action, name, origin } = rule;
      const step: Step = { ...about, ...(name === undefined ? {} : { rule: name }), origin, outcome: action };
      const effect = action === 'redirect' || action === 'allow' ? this.#allow : action;
      return [
        { effect, clauses, step, key: `${about.tier} ${about.policy} ${this.direction} ${index} ${effect}` },
      ];
    });
  }

  ownNode(): Line {
    const terms = [peerTerm(OWN_NODE, 'source')];
    this.sets.set(setKey(OWN_NODE), OWN_NODE);
    const step: Step = { tier: 'exempt', outcome: 'allow' };
    return { effect: 'allow', clauses: [{ not: false, terms }], step, key: 'own-node', exempt: 'own-node' };
  }

  readonly #asked = new Map<SetKey, PeerSet>();

  #note(term: Term): void {
    if ('set' in term && term.own !== true) this.sets.set(term.set, this.#asked.get(term.set));
  }

  /** Undefined when the own end can never match. */
  clauses(rule: Pick<Rule, 'source' | 'destination' | 'traffic'>): TermClause[] | undefined {
    const clauses = openClauses([
      ...rule.source.map((clause) => termClause(clause, (set) => this.#peer(set, 'source'))),
      ...rule.destination.map((clause) => termClause(clause, (set) => this.#peer(set, 'destination'))),
      ...rule.traffic.map((clause) => termClause(clause, (set) => this.#traffic(set))),
    ]);
    for (const { terms } of clauses ?? []) for (const term of terms) this.#note(term);
    return clauses;
  }

  #traffic(set: Rule['traffic'][number]['anyOf'][number]): readonly Term[] {
    if (set.kind === 'family') return settled(set.family === this.#own.family);
    return set.kind === 'named-port' && set.end === this.#end ? this.#own.port(set) : trafficTerms(set);
  }

  #peer(set: PeerSet, end: End): readonly Term[] {
    if (end === this.#end) return this.#own.peer(set, end);
    const term = peerTerm(set, end);
    if ('set' in term) this.#asked.set(term.set, askedSet(set));
    return [term];
  }
}

/** The set that a term is about: of the world, the cluster. */
export function askedSet(set: PeerSet): PeerSet {
  return set.kind === 'entity' && set.entity === 'world' ? { kind: 'entity', entity: 'cluster' } : set;
}

/** A pod's address is known, and all that it is in. */
class PodEnd implements OwnEnd {
  looksAtWorld = false;
  readonly family: Family;
  readonly #world: PolicyWorld;
  readonly #own: Own;

  constructor(world: PolicyWorld, own: Own) {
    this.#own = own;
    this.family = addressFamily(own.address);
    // Only what has the address can matter for what is asked of it.
    this.#world = { ...world, endpoints: [own.pod, ...own.networks] };
  }

  port(set: NamedPortSet): Term[] {
    return knownPortTerms(set, [this.#own.pod]);
  }

  peer(set: PeerSet, end: End): Term[] {
    const { address, pod } = this.#own;
    this.looksAtWorld = true;
    if (set.kind === 'service' && end === 'destination') {
      const backends = this.#world.services.get(`${set.namespace}/${set.name}`) ?? [];
      return backends
        .filter((backend) => backend.address === address)
        .map(({ protocol, port }) => ({ box: portBox(end, [protocol], { from: port, to: port }) }));
    }
    const flow = { protocol: 0, source: address, destination: address };
    return settled(isPeer(set, end, { world: this.#world, flow, node: pod.node }));
  }
}

const settled = (holds: boolean): Term[] => (holds ? [{ box: EVERY_BOX }] : []);
