/**
 * Shapes of JSON values from outside, on top of zod: text becomes values of room net, and everything that is wrong is
 * reported at its path.
 */
import { z } from 'zod';
import type { Problem } from '#model/fault.ts';
import { parseAddress } from '#net/address.ts';
import { parseMac } from '#net/mac.ts';
import { parseInterfaceAddress, parsePrefix, prefixAddress, prefixLength, prefixOf } from '#net/prefix.ts';

export type JsonObject = { readonly [key: string]: unknown };

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A string that `parse` understands; the message names what was expected and shows the text. */
export function textOf<T>(what: string, parse: (text: string) => T | undefined) {
  return z.string().transform((text, context): T => {
    const value = parse(text);
    if (value !== undefined) return value;
    context.addIssue(`${JSON.stringify(text.slice(0, 80))} is not ${what}`);
    return z.NEVER;
  });
}

/** Go's decoders give absent, null and empty text the same meaning; so do we where the field is optional. */
export function optional<T extends z.ZodType>(schema: T) {
  return z.preprocess((value) => (value === null || value === '' ? undefined : value), schema.optional());
}

/** The longest list that a request may carry: what is longer is refused unread, so that no request holds up others. */
export const LIST_LIMIT = 4096;

/** A list whose items are looked at only when there are not too many of them. */
export function listOf<T extends z.ZodType>(item: T, limit = LIST_LIMIT) {
  const sized = z.array(z.unknown()).superRefine((list, context) => {
    if (list.length > limit) context.addIssue(`has ${list.length} entries, more than ${limit}`);
  });
  return sized.pipe(z.array(item));
}

export const addressText = textOf('an IP address', parseAddress);
export const interfaceAddressText = textOf('an address with a prefix length', parseInterfaceAddress);
export const macText = textOf('a MAC address', parseMac);
/** A prefix exactly: host bits are a mistake. */
export const prefixText = textOf('a network prefix (host bits must be zero)', parsePrefix);
/** A prefix with host bits ignored, as Go's net.ParseCIDR does for routes. */
export const loosePrefixText = textOf('a network prefix', (text) => {
  const parsed = parseInterfaceAddress(text);
  return parsed === undefined ? undefined : prefixOf(prefixAddress(parsed), prefixLength(parsed));
});

export const count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

/** zod's issues as problems, with paths like `ipam.ranges[0].subnet` below `root`. */
export function problemsOf(error: z.ZodError, root = ''): Problem[] {
  return error.issues.map((issue) => ({ path: pathText(root, issue.path), message: issue.message }));
}

function pathText(root: string, path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === 'number') return `${text}[${part}]`;
    return text === '' ? String(part) : `${text}.${String(part)}`;
  }, root);
}
