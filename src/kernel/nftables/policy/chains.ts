/** Chains of programs: what plain maps cannot say (source ports, ICMP types, logging), as a few rules one after another. */
import { type ChainRule, POLICY_LOG_GROUP, type Span } from '#model/policy-program.ts';
import { denied } from './denied.ts';
import { counter, type Expression, limit, log, payload, verdict, within } from './expressions.ts';
import { PLACES } from './places.ts';
import type { NftChain, NftRule } from './structure.ts';

const FIELDS = {
  ports: { x: PLACES.destinationPort, y: PLACES.sourcePort },
  icmp: { x: PLACES.icmpType, y: PLACES.icmpCode },
} as const;

/** Of each rule that logs. */
const LOGS_PER_SECOND = 100;
const LOG = 'log';
const NOTHING = 'nothing';

/** `logs`: packets are told of as rules have it; otherwise no rule tells of any. */
type Style = { readonly logs: boolean };

/** A packet that no rule of its chain decides is denied: compiled chains decide all. */
export function compileChain(name: string, rules: readonly ChainRule[], { logs }: Style): NftChain {
  const nothing = { comment: NOTHING, expressions: [counter(), verdict(denied())] };
  return { name, rules: [...rules.flatMap((rule) => compileRule(rule, logs)), nothing] };
}

/** Whether the comment is of a rule that only tells of packets, for the rule behind it. */
export function isTelling(comment: string): boolean {
  return comment === LOG;
}

/** From the comments of its rules; undefined when somebody changed them. */
export function parseChain(comments: readonly string[], style: Style): ChainRule[] | undefined {
  try {
    const rules = comments
      .filter((comment) => comment !== LOG && comment !== NOTHING)
      .map((comment) => JSON.parse(comment) as ChainRule);
    const expected = compileChain('', rules, style).rules;
    const isSame = expected.length === comments.length;
    return isSame && expected.every(({ comment }, index) => comment === comments[index]) ? rules : undefined;
  } catch {
    return undefined;
  }
}

/** Telling is a rule of its own in front: whatever its limit says, the packet is judged. */
function compileRule(rule: ChainRule, logs: boolean): NftRule[] {
  const judge = {
    comment: JSON.stringify(rule),
    expressions: [...tests(rule), counter(), ...judgement(rule)],
  };
  if (rule.log === undefined || !logs) return [judge];
  const tell = [...tests(rule), limit(LOGS_PER_SECOND), log(POLICY_LOG_GROUP, rule.log)];
  return [{ comment: LOG, expressions: tell }, judge];
}

function judgement({ verdict: decision }: ChainRule): Expression[] {
  if (decision === undefined) return [];
  if (decision === 'deny') return [verdict(denied())];
  return [verdict(decision === 'allow' ? 'return' : { to: 'goto', chain: decision })];
}

function tests(rule: ChainRule): Expression[] {
  const test = (axis: 'x' | 'y', span: Span | undefined): Expression[] => {
    if (span === undefined || rule.of === undefined) return [];
    const place = FIELDS[rule.of][axis];
    return [
      payload('transport', place, 0),
      within(0, bytesOf(span[0], place[1]), bytesOf(span[1], place[1])),
    ];
  };
  return [...test('x', rule.x), ...test('y', rule.y)];
}

function bytesOf(value: number, size: 1 | 2): Uint8Array {
  return size === 1 ? Uint8Array.of(value) : Uint8Array.of(value >> 8, value & 255);
}
