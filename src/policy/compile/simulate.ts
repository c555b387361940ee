/** What a program makes of a flow, asked as the data plane asks, and which entry decided. */
import { type Gate, gateMap, gateOf, type PolicyProgram } from '#model/policy-program.ts';
import { DIRECTIONS, type Direction, type HostScope } from '#model/policy.ts';
import type { Crossing, Flow, Step } from '#model/verdict.ts';
import { addressFamily } from '#net/address.ts';
import { type Answer, answer, classOf } from './lookup.ts';

export type Opinion = Omit<Answer, 'decided'> & {
  readonly direction: Direction;
  readonly action: 'allow' | 'deny';
  /** Of a host endpoint: where, and the part of its policy that decided. */
  readonly at?: { readonly interface: string; readonly scope: HostScope };
};

export type SimulatedVerdict = { readonly action: 'allow' | 'deny'; readonly opinions: readonly Opinion[] };

/**
 * Judges at the ends that are pods of the program's node and are selected, and at the host endpoints of `node`, the
 * program's own, that the flow says it crosses (#policy/hosts.ts derives that where a flow does not say it).
 */
export function simulate(
  program: PolicyProgram,
  flow: Flow,
  { node }: { readonly node?: string } = {},
): SimulatedVerdict {
  const crossings = (flow.crossings ?? []).filter((each) => each.node === node);
  const opinions = [
    ...askPods(program, flow),
    ...crossings.flatMap((crossing) => askHost(program, flow, crossing)),
  ];
  return { action: opinions.some(({ action }) => action === 'deny') ? 'deny' : 'allow', opinions };
}

/** Packets to oneself do not leave the pod. Nothing where nothing selects the end. */
function askPods(program: PolicyProgram, flow: Flow): Opinion[] {
  if (flow.source === flow.destination && flow.before === undefined) return [];
  return DIRECTIONS.toReversed().flatMap((direction) => {
    const [own, peer] = endsOf(flow, direction);
    const subject = program.entries.get(`${direction}${addressFamily(own)} ${own}`);
    return subject === undefined ? [] : opinionOf(answer(program, subject, flow, peer), { direction });
  });
}

const endsOf = (
  { source, destination }: Flow,
  direction: Direction,
): [own: Flow['source'], peer: Flow['source']] =>
  direction === 'egress' ? [source, destination] : [destination, source];

function opinionOf({ decided, ...rest }: Answer, about: Pick<Opinion, 'direction' | 'at'>): Opinion {
  return { ...about, action: decided === 'deny' ? 'deny' : 'allow', ...rest };
}

/** The first scope that decides; nothing where no endpoint is asked. */
function askHost(program: PolicyProgram, flow: Flow, crossing: Crossing): Opinion[] {
  const { direction } = crossing;
  const original = { ...flow, ...flow.before };
  const logs: Step[] = [];
  for (const scope of scopesAt(crossing)) {
    const isLate = scope === 'local' || scope === 'forward';
    const found = askGate(program, gateOf(scope, direction), isLate ? flow : original, crossing);
    if (found === undefined) continue;
    if (isLate || found.decided !== 'allow') {
      const at = { interface: crossing.interface, scope };
      return [opinionOf(withLogs(found, logs), { direction, at })];
    }
    logs.push(...(found.reason?.logs ?? []));
  }
  return [];
}

/** In the order in which packets meet them. */
function scopesAt({ direction, forwarded, toPod }: Crossing): HostScope[] {
  if (forwarded) return direction === 'ingress' ? ['untracked', 'pre-dnat', 'forward'] : ['forward'];
  return ['untracked', 'pre-dnat', ...(toPod === true ? [] : (['local'] as const))];
}

/** With what earlier gates logged that decided nothing. */
function withLogs(found: Answer, earlier: readonly Step[]): Answer {
  if (earlier.length === 0) return found;
  return { ...found, reason: { ...found.reason, logs: [...earlier, ...(found.reason?.logs ?? [])] } };
}

function askGate(
  program: PolicyProgram,
  gate: Gate | undefined,
  flow: Flow,
  crossing: Crossing,
): Answer | undefined {
  if (gate === undefined) return undefined;
  const { entries } = program;
  const [own, peer] = endsOf(flow, crossing.direction);
  const map = gateMap(gate, addressFamily(own));
  const subject = entries.get(`${map} ${crossing.interface}`) ?? entries.get(`${map} *`);
  if (subject === undefined) return undefined;
  const place = entries.get(`place ${subject} ${classOf(program, own)}`);
  return answer(program, place ?? subject, flow, peer);
}
