/** What objects of routing are made of, as schemas beside #model/manifest-shapes.ts. */
import { z } from 'zod';
import { across, isThere, wholeNumber } from '#model/manifest-shapes.ts';
import type { Selector } from '#model/policy.ts';
import type { SecretRef } from '#model/routing.ts';
import { LARGEST_AS, readAs, readCommunity } from '#model/routing-text.ts';
import { isSelectorProblem, parseSelector } from '#model/selector-text.ts';
import { type Family, parseAddress } from '#net/address.ts';
import { parsePrefix, prefixFamily, type Prefix } from '#net/prefix.ts';

/** A schema of texts that `read` understands. */
export function textOf<T>(what: string, read: (text: string) => T | undefined) {
  return z.string().transform((text, context): T => {
    const found = read(text);
    if (found !== undefined) return found;
    context.addIssue({
      code: 'custom',
      message: `must be ${what}, not ${JSON.stringify(text).slice(0, 80)}`,
    });
    return z.NEVER;
  });
}

export const ipAddress = textOf('an IP address', parseAddress);
export const anyPrefix = textOf('a CIDR such as 10.0.0.0/8 without host bits', parsePrefix);

export function prefixOfFamily(family: Family) {
  return textOf(`an IPv${family} CIDR without host bits`, (text): Prefix | undefined => {
    const found = parsePrefix(text);
    return found !== undefined && prefixFamily(found) === family ? found : undefined;
  });
}

/** A number, also as text, or `high.low` (RFC 5396). 0 is no AS (RFC 7607). */
export const asNumber = z.union([z.number(), z.string()]).transform((given, context): number => {
  const as = typeof given === 'number' ? given : readAs(given);
  if (as !== undefined && Number.isInteger(as) && as >= 1 && as <= LARGEST_AS) return as;
  context.addIssue({ code: 'custom', message: `must be an AS number from 1 to ${LARGEST_AS}, not ${given}` });
  return z.NEVER;
});

export const community = textOf('a community aa:nn of 16 bits or aa:nn:mm of 32 bits each', readCommunity);

/** In Calico's language, of nodes' labels. */
export const nodeSelector = z.string().transform((text, context): Selector => {
  const found = parseSelector(text);
  if (!isSelectorProblem(found)) return found;
  context.addIssue({ code: 'custom', message: `column ${found.column}: ${found.message}` });
  return z.NEVER;
});

const UNITS: Readonly<Record<string, number>> = { h: 3600, m: 60, s: 1 };

/** Go's durations, in whole seconds. */
export function seconds(min: number, max: number) {
  return textOf(`a time such as 90s or 2m, in whole seconds from ${min} to ${max}`, (text) => {
    if (!/^(\d{1,6}[hms])+$/.test(text)) return undefined;
    const parts = text.match(/\d+[hms]/g) ?? [];
    const sum = parts.reduce(
      (total, part) => total + Number(part.slice(0, -1)) * (UNITS[part.slice(-1)] ?? 0),
      0,
    );
    return sum >= min && sum <= max ? sum : undefined;
  });
}

/** Priorities of Calico's routes. */
export const priority = wholeNumber(1, 2_147_483_646);

/** A key of a Secret, in the agent's own namespace. */
export const password = across(
  z.strictObject({
    secretKeyRef: z.strictObject({
      name: z.string().min(1, 'must not be empty'),
      key: z.string().min(1, 'must not be empty'),
      optional: z.boolean().nullish(),
    }),
  }),
  ({ secretKeyRef }, say) => {
    const { optional } = (secretKeyRef ?? {}) as { optional?: unknown };
    if (isThere(optional) && optional !== false)
      say(['secretKeyRef', 'optional'], 'must be false: a session is not held without its password');
  },
).transform(({ secretKeyRef: { name, key } }): SecretRef => ({ kind: 'secret', name, key }));

/** A field that is known, but that nobody would act on. */
export function refused(why: string) {
  return z
    .unknown()
    .refine((value) => !isThere(value), why)
    .optional();
}
