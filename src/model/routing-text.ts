/** How numbers of BGP are written. Undefined: it is none. */
import { type Address, addressFrom, parseAddress } from '#net/address.ts';
import type { Community } from './routing.ts';

export const LARGEST_AS = 0xffff_ffff;

/** A number, or `high.low` (RFC 5396). */
export function readAs(text: string): number | undefined {
  if (/^\d{1,10}$/.test(text)) return Number(text);
  const [, high, low] = /^(\d{1,5})\.(\d{1,5})$/.exec(text) ?? [];
  if (high === undefined || Number(high) > 0xffff || Number(low) > 0xffff) return undefined;
  return Number(high) * 0x1_0000 + Number(low);
}

/** `aa:nn` of 16 bits each, or `aa:nn:mm` of 32 bits each. */
export function readCommunity(text: string): Community | undefined {
  if (!/^\d{1,10}(:\d{1,10}){1,2}$/.test(text)) return undefined;
  const [a = 0, b = 0, c] = text.split(':').map(Number);
  const largest = c === undefined ? 0xffff : LARGEST_AS;
  if ([a, b, c ?? 0].some((part) => part > largest)) return undefined;
  return c === undefined ? [a, b] : [a, b, c];
}

/** An IPv4 address, or its number (RFC 4456: 32 bits). 0 is none. */
export function readClusterId(text: string): Address | undefined {
  const number = /^\d{1,10}$/.test(text) ? Number(text) : undefined;
  if (number !== undefined)
    return number >= 1 && number <= LARGEST_AS ? addressFrom(4, BigInt(number)) : undefined;
  const found = parseAddress(text);
  return found === undefined || found.includes(':') || found === '0.0.0.0' ? undefined : found;
}
