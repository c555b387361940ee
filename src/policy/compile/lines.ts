/**
 * Everything that is asked of flows of one address in one direction, in order: the tiers' rules as lines, with all that
 * concerns the own end settled. Equal to asking #policy/tiers.ts, which has the meaning.
 */
import type { Direction, End, OrderedTier, PeerSet, Policy, Rule, RuleBook } from '#model/policy.ts';
import type { Step } from '#model/verdict.ts';
import type { NetworkSet, Pod, PolicyWorld } from '#model/workload.ts';
import { type Address, addressFamily } from '#net/address.ts';
import { policyName } from '../book.ts';
import { isPeer } from '../peers.ts';
import {
  EVERY_BOX,
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
  readonly effect: 'allow' | 'deny' | 'pass' | 'log';
  readonly clauses: readonly TermClause[];
  readonly step: Step;
  /** The same for the same rule of the same policy, whatever peers and traffic stand in it. */
  readonly key: string;
  readonly exempt?: 'own-node';
};

/** Lines are asked one after another; what they leave undecided meets `otherwise`, or goes on to the next stage. */
export type Stage = { readonly lines: readonly Line[]; readonly otherwise?: Step };

/** Whom the lines are for. `networks`: all network sets of the world, of which some may hold the address. */
export type Own = {
  readonly pod: Pod;
  readonly address: Address;
  readonly networks: readonly NetworkSet[];
};

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

/** Undefined: no policy and no profile has anything to say. */
export function writeScript(
  book: RuleBook,
  world: PolicyWorld,
  own: Own,
  { direction, tiers }: { readonly direction: Direction; readonly tiers: readonly Selected[] },
): Script | undefined {
  const context = new Context(world, own, direction);
  const stages = tiers.flatMap((selected) => tierStage(context, selected));
  const { profiles } = own.pod;
  if (stages.length === 0 && profiles === undefined) return undefined;
  const denied: Step = { tier: 'profiles', outcome: 'deny' };
  if (profiles !== undefined)
    stages.push({ lines: profileLines(context, book, profiles), otherwise: denied });
  const first = direction === 'ingress' ? [{ lines: [context.ownNode()] }] : [];
  const end = profiles === undefined ? undefined : denied;
  return { stages: [...first, ...stages], end, sets: context.sets, looksAtWorld: context.looksAtWorld };
}

function tierStage(context: Context, { tier, policies }: Selected): Stage[] {
  const isolated = policies.some((policy) => policy.isolates[context.direction]);
  const lines = policies.flatMap((policy) => {
    const name = policyName(policy);
    return context.lines(policy[context.direction], { tier: tier.name, policy: name });
  });
  if (isolated && tier.defaultAction === 'deny')
    return [{ lines, otherwise: { tier: tier.name, outcome: 'deny' } }];
  return lines.length === 0 ? [] : [{ lines }];
}

/** Missing profiles, and rules that pass, end the profiles: nothing behind them is asked. */
function profileLines(context: Context, book: RuleBook, names: readonly string[]): Line[] {
  const lines: Line[] = [];
  for (const name of names) {
    const profile = book.profiles.get(name);
    if (profile === undefined) break;
    const rules = profile[context.direction];
    lines.push(...context.lines(rules, { tier: 'profiles', policy: `Profile ${name}` }));
  }
  return lines.map((line) => (line.effect === 'pass' ? { ...line, effect: 'deny' } : line));
}

/** Collects the sets that lines ask about. */
class Context {
  readonly sets = new Map<SetKey, PeerSet | undefined>();
  looksAtWorld = false;
  readonly direction: Direction;
  readonly #world: PolicyWorld;
  readonly #own: Own;
  readonly #end: End;

  constructor(world: PolicyWorld, own: Own, direction: Direction) {
    this.direction = direction;
    this.#own = own;
    this.#end = direction === 'egress' ? 'source' : 'destination';
    // Only what has the address can matter for what is asked of it.
    this.#world = { ...world, endpoints: [own.pod, ...own.networks] };
  }

  lines(rules: readonly Rule[], about: Pick<Step, 'tier' | 'policy'>): Line[] {
    return rules.flatMap((rule, index) => {
      const clauses = this.#clauses(rule);
      if (clauses === undefined) return [];
      for (const { terms } of clauses) for (const term of terms) this.#note(term);
      const { action, name, origin } = rule;
      const step: Step = { ...about, ...(name === undefined ? {} : { rule: name }), origin, outcome: action };
      const effect = action === 'redirect' ? 'allow' : action;
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
    if ('set' in term) this.sets.set(term.set, this.#asked.get(term.set));
  }

  /** Undefined when the own end can never match. */
  #clauses(rule: Rule): TermClause[] | undefined {
    const clauses = [
      ...rule.source.map((clause) => termClause(clause, (set) => this.#peer(set, 'source'))),
      ...rule.destination.map((clause) => termClause(clause, (set) => this.#peer(set, 'destination'))),
      ...rule.traffic.map((clause) =>
        termClause(clause, (set) =>
          set.kind === 'family'
            ? settled(set.family === addressFamily(this.#own.address))
            : trafficTerms(set, this.#end, [this.#own.pod]),
        ),
      ),
    ];
    const open = clauses.filter((clause) => !isAlways(clause));
    return open.some(isNever) ? undefined : open;
  }

  #peer(set: PeerSet, end: End): Term[] {
    if (end === this.#end) return this.#ownSet(set, end);
    const term = peerTerm(set, end);
    if ('set' in term) {
      const isWorld = set.kind === 'entity' && set.entity === 'world';
      this.#asked.set(term.set, isWorld ? { kind: 'entity', entity: 'cluster' } : set);
    }
    return [term];
  }

  #ownSet(set: PeerSet, end: End): Term[] {
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
const hasEvery = ({ terms }: TermClause): boolean =>
  terms.some((term) => 'box' in term && term.box.protocols === undefined);
const isAlways = (clause: TermClause): boolean => (clause.not ? clause.terms.length === 0 : hasEvery(clause));
const isNever = (clause: TermClause): boolean => (clause.not ? hasEvery(clause) : clause.terms.length === 0);
