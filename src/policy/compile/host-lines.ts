/**
 * What is asked of packets where they cross a host interface: one script for each gate and family. Packets of all
 * addresses pass there, so what rules ask of the host's end stays open until the class of the packet's address at that
 * end is known: then the place of the address has a script of its own. Equal to asking #policy/hosts.ts.
 */
import type { Direction, End, HostScope, PeerSet, Rule, RuleBook } from '#model/policy.ts';
import { type Gate, gateOf } from '#model/policy-program.ts';
import type { Failsafe, HostEndpoint, PolicyWorld } from '#model/workload.ts';
import type { Family } from '#net/address.ts';
import {
  type Atom,
  boxesOf,
  type NamedPortSet,
  openClauses,
  peerTerm,
  type SetKey,
  type Term,
  type TermClause,
  trafficTerms,
} from './condition.ts';
import {
  askedSet,
  Context,
  DENIED,
  type Line,
  type Manner,
  type OwnEnd,
  profileStage,
  type Script,
  type Selected,
  type Stage,
  tierStage,
} from './lines.ts';

/** One gate, with what is special about it. */
export type GateSketch = {
  readonly gate: Gate;
  readonly direction: Direction;
  /** Policies of other scopes are not asked. */
  readonly scopes: readonly HostScope[];
  readonly manner: Manner;
  /** Failsafe ports are open; `replies`: and so are answers of such ports. */
  readonly failsafe?: 'ports' | 'replies';
  /** Endpoints for all interfaces are not asked. */
  readonly named?: true;
  /** Asked even where no policy is: what nothing allows is denied. */
  readonly closed?: true;
};

const SCOPES: Readonly<Record<HostScope, Omit<GateSketch, 'gate' | 'direction'>>> = {
  untracked: {
    scopes: ['untracked'],
    manner: { allow: 'untracked', defaults: false },
    failsafe: 'replies',
    named: true,
  },
  'pre-dnat': { scopes: ['pre-dnat'], manner: { allow: 'early', defaults: false }, failsafe: 'ports' },
  local: {
    scopes: ['local', 'forward'],
    manner: { allow: 'allow', defaults: true },
    failsafe: 'ports',
    closed: true,
  },
  forward: { scopes: ['forward'], manner: { allow: 'allow', defaults: true } },
};

export const GATES: readonly GateSketch[] = (['untracked', 'pre-dnat', 'local', 'forward'] as const).flatMap(
  (scope) =>
    (['ingress', 'egress'] as const).flatMap((direction) => {
      const gate = gateOf(scope, direction);
      return gate === undefined ? [] : [{ gate, direction, ...SCOPES[scope] }];
    }),
);

/** A script of which what it asks of the own end is open. */
export type OpenScript = Script & {
  /** Sets that lines ask about at the own end. */
  readonly ownSets: ReadonlyMap<SetKey, PeerSet | undefined>;
};

/** What an endpoint's own end comes to: terms that are settled by settleOwn. */
class HostEnd implements OwnEnd {
  readonly sets = new Map<SetKey, PeerSet | undefined>();
  readonly family: Family;

  constructor(family: Family) {
    this.family = family;
  }

  port(set: NamedPortSet): Term[] {
    return trafficTerms(set).map((term) => this.#own(term, undefined));
  }

  peer(set: PeerSet, end: End): Term[] {
    return [this.#own(peerTerm(set, end), askedSet(set))];
  }

  #own(term: Term, set: PeerSet | undefined): Term {
    if ('box' in term) return term;
    this.sets.set(term.set, set);
    return { ...term, own: true };
  }
}

type About = {
  readonly sketch: GateSketch;
  readonly family: Family;
  readonly endpoint: HostEndpoint;
  /** Of the gate's scopes. */
  readonly tiers: readonly Selected[];
};

export function writeOpenScript(book: RuleBook, world: PolicyWorld, about: About): OpenScript {
  const { sketch, family, endpoint, tiers } = about;
  const end = new HostEnd(family);
  const context = new Context(end, sketch.direction, sketch.manner);
  const isClosed = sketch.closed === true;
  const stages: Stage[] = [
    { lines: failsafeLines(context, world, sketch) },
    ...tiers.flatMap((selected) => tierStage(context, selected)),
    ...(isClosed ? [profileStage(context, book, endpoint.profiles)] : []),
  ];
  return {
    stages,
    end: isClosed ? DENIED : undefined,
    sets: context.sets,
    ownSets: end.sets,
    looksAtWorld: false,
  };
}

function failsafeLines(context: Context, { failsafe }: PolicyWorld, { failsafe: open }: GateSketch): Line[] {
  if (open === undefined) return [];
  const { direction } = context;
  const remote: End = direction === 'ingress' ? 'source' : 'destination';
  const ports = failsafe[direction].map((each) => failsafeRule(each, remote, 'destination'));
  const answers = failsafe[direction === 'ingress' ? 'egress' : 'ingress'].map((each) =>
    failsafeRule(each, remote, 'source'),
  );
  return [...ports, ...(open === 'replies' ? answers : [])].flatMap((rule): Line[] => {
    const clauses = context.clauses(rule);
    const step = { tier: 'exempt', outcome: 'allow' } as const;
    return clauses === undefined
      ? []
      : [{ effect: 'allow', clauses, step, key: 'failsafe', exempt: 'failsafe' }];
  });
}

type Conditions = Pick<Rule, 'source' | 'destination' | 'traffic'>;

function failsafeRule({ protocol, ports, prefix }: Failsafe, remote: End, end: End): Conditions {
  const from: PeerSet[] = prefix === undefined ? [] : [{ kind: 'prefixes', prefixes: [prefix], except: [] }];
  const peers = from.length === 0 ? [] : [{ anyOf: from }];
  return {
    source: remote === 'source' ? peers : [],
    destination: remote === 'destination' ? peers : [],
    traffic: [{ anyOf: [{ kind: 'ports', end, protocol, ranges: [ports] }] }],
  };
}

/** The script of addresses that are in these sets and in no others that it asks about at the own end. */
export function settleOwn({ ownSets, ...script }: OpenScript, atoms: readonly Atom[]): Script {
  if (ownSets.size === 0) return script;
  const stages = script.stages.map((stage) => ({
    ...stage,
    lines: stage.lines.flatMap((line): Line[] => {
      const clauses = openClauses(line.clauses.map((clause) => settleClause(clause, atoms)));
      return clauses === undefined ? [] : [{ ...line, clauses }];
    }),
  }));
  const asked = new Set(
    stages.flatMap(({ lines }) =>
      lines.flatMap(({ clauses }) =>
        clauses.flatMap(({ terms }) => terms.flatMap((term) => ('set' in term ? [term.set] : []))),
      ),
    ),
  );
  return { ...script, stages, sets: new Map([...script.sets].filter(([key]) => asked.has(key))) };
}

function settleClause({ not, terms }: TermClause, atoms: readonly Atom[]): TermClause {
  return {
    not,
    terms: terms.flatMap((term): readonly Term[] =>
      'box' in term || term.own !== true ? [term] : boxesOf(term, atoms).map((box) => ({ box })),
    ),
  };
}
