/** Chains of programs: what plain maps cannot say (source ports, ICMP types, logging), as a few rules one after another. */
import { type ChainRule, POLICY_LOG_GROUP, type Span } from '#model/policy-program.ts';
import { counter, type Expression, log, payload, verdict, within } from './expressions.ts';
import { PLACES } from './places.ts';
import type { NftChain } from './structure.ts';

const FIELDS = {
  ports: { x: PLACES.destinationPort, y: PLACES.sourcePort },
  icmp: { x: PLACES.icmpType, y: PLACES.icmpCode },
} as const;

/** A packet that no rule of its chain decides is dropped: compiled chains decide all. */
export function compileChain(name: string, rules: readonly ChainRule[]): NftChain {
  return {
    name,
    rules: [
      ...rules.map((rule) => ({ comment: JSON.stringify(rule), expressions: compileRule(rule) })),
      { comment: 'nothing', expressions: [counter(), verdict('drop')] },
    ],
  };
}

/** From the comments of its rules; undefined when somebody changed them. */
export function parseChain(comments: readonly string[]): ChainRule[] | undefined {
  if (comments.at(-1) !== 'nothing') return undefined;
  try {
    return comments.slice(0, -1).map((comment) => JSON.parse(comment) as ChainRule);
  } catch {
    return undefined;
  }
}

function compileRule(rule: ChainRule): Expression[] {
  const test = (axis: 'x' | 'y', span: Span | undefined): Expression[] => {
    if (span === undefined || rule.of === undefined) return [];
    const place = FIELDS[rule.of][axis];
    return [
      payload('transport', place, 0),
      within(0, bytesOf(span[0], place[1]), bytesOf(span[1], place[1])),
    ];
  };
  return [
    ...test('x', rule.x),
    ...test('y', rule.y),
    counter(),
    ...(rule.log === undefined ? [] : [log(POLICY_LOG_GROUP, rule.log)]),
    ...(rule.verdict === undefined ? [] : [verdict(rule.verdict === 'allow' ? 'return' : 'drop')]),
  ];
}

function bytesOf(value: number, size: 1 | 2): Uint8Array {
  return size === 1 ? Uint8Array.of(value) : Uint8Array.of(value >> 8, value & 255);
}
