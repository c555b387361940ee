/** Address ranges as host-local and the ipRanges capability write them: sets of {subnet, rangeStart, rangeEnd, gateway}. */
import { z } from 'zod';
import { type Address, addressBits, compareAddresses } from '#net/address.ts';
import {
  contains,
  lastAddress,
  overlaps,
  type Prefix,
  prefixAddress,
  prefixFamily,
  prefixLength,
} from '#net/prefix.ts';
import { addressText, listOf, optional, prefixText } from './json.ts';

export type AddressRange = {
  readonly subnet: Prefix;
  readonly rangeStart?: Address | undefined;
  readonly rangeEnd?: Address | undefined;
  readonly gateway?: Address | undefined;
};
/** One address is taken out of each set. All ranges of a set are of one family. */
export type RangeSet = readonly AddressRange[];

const rangeSchema = z
  .object({
    subnet: prefixText,
    rangeStart: optional(addressText),
    rangeEnd: optional(addressText),
    gateway: optional(addressText),
  })
  .superRefine((range, context) => {
    for (const message of rangeProblems(range)) context.addIssue(message);
  });

const SETS_LIMIT = 64;
const rangeSetSchema = listOf(rangeSchema, SETS_LIMIT).refine((set) => set.length > 0, 'is empty');

/** Range sets with the rules of host-local: no /31 or /32, bounds inside the subnet, no overlap anywhere. */
export const rangeSetsSchema = listOf(rangeSetSchema, SETS_LIMIT).superRefine((sets, context) => {
  for (const message of setProblems(sets)) context.addIssue(message);
});

function rangeProblems(range: AddressRange): string[] {
  const { subnet, rangeStart, rangeEnd } = range;
  const problems = (['rangeStart', 'rangeEnd', 'gateway'] as const).flatMap((name) => {
    const value = range[name];
    return value === undefined || contains(subnet, value) ? [] : [`${name} ${value} is outside ${subnet}`];
  });
  if (prefixLength(subnet) > addressBits(prefixFamily(subnet)) - 2) problems.push(`${subnet} is too small`);
  if (rangeStart !== undefined && rangeEnd !== undefined && compareAddresses(rangeStart, rangeEnd) > 0) {
    problems.push(`rangeStart ${rangeStart} is after rangeEnd ${rangeEnd}`);
  }
  return problems;
}

function setProblems(sets: readonly RangeSet[]): string[] {
  const problems: string[] = [];
  for (const set of sets) {
    if (new Set(set.map(({ subnet }) => prefixFamily(subnet))).size > 1) {
      problems.push(`a range set mixes families: ${set.map(({ subnet }) => subnet).join(', ')}`);
    }
  }
  const sorted = sets.flat().sort((a, b) => compareAddresses(first(a), first(b)));
  for (const [index, range] of sorted.entries()) {
    const next = sorted[index + 1];
    if (next !== undefined && clash(range, next)) problems.push(`${range.subnet} overlaps ${next.subnet}`);
  }
  return problems;
}

const first = (range: AddressRange): Address => range.rangeStart ?? prefixAddress(range.subnet);
const last = (range: AddressRange): Address => range.rangeEnd ?? lastAddress(range.subnet);

function clash(a: AddressRange, b: AddressRange): boolean {
  return overlaps(a.subnet, b.subnet) && compareAddresses(first(b), last(a)) <= 0;
}
