/**
 * How packets end that policies deny: short chains to which everything that denies leads, one for each direction and one
 * for chains of programs, which do not know it. They are told of, at most so often, and dropped; or let go on, as if
 * they were allowed, where policies are only audited or staged.
 */
import { type DenialKind, formatDenial } from '#model/policy-log.ts';
import { type Direction, DIRECTIONS } from '#model/policy.ts';
import { POLICY_LOG_GROUP } from '#model/policy-program.ts';
import { counter, limit, log, type Verdict, verdict } from './expressions.ts';
import type { NftChain } from './structure.ts';

export type Denial = {
  /** Of each direction, told of at most; 0: none. */
  readonly logPerSecond: number;
  /** They pass. */
  readonly audit: boolean;
};

export const DROP_SILENTLY: Denial = { logPerSecond: 0, audit: false };

const nameOf = (way: Direction | undefined): string => (way === undefined ? 'denied' : `denied-${way}`);

/** To where packets go that are denied in this direction. */
export function denied(way?: Direction): Verdict {
  return { to: 'goto', chain: nameOf(way) };
}

/** Return leads back to the base chain, which asks the other direction. */
export function deniedChains(kind: DenialKind, logPerSecond: number): NftChain[] {
  const end = kind === 'denied' ? 'drop' : 'return';
  return [...DIRECTIONS, undefined].map((way) => {
    const text = formatDenial({ kind, ...(way === undefined ? {} : { direction: way }) });
    const tell = {
      comment: `${kind} log ${logPerSecond}`,
      expressions: [limit(logPerSecond), log(POLICY_LOG_GROUP, text)],
    };
    const last = { comment: `${kind} ${end}`, expressions: [counter(), verdict(end)] };
    return { name: nameOf(way), rules: [...(logPerSecond === 0 ? [] : [tell]), last] };
  });
}
