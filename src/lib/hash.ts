/** FNV-1a, for names and deterministic MAC addresses. Not a cryptographic hash. */

const encoder = new TextEncoder();

/** 64-bit FNV-1a of the UTF-8 text. */
export function fnv1a64(text: string): bigint {
  // In halves of 32 bits: a bigint a byte takes twice as long. The prime is 2⁴⁰ + 0x1b3.
  let [high, low] = [0xcbf29ce4, 0x84222325];
  for (const byte of encoder.encode(text)) {
    const mixed = (low ^ byte) >>> 0;
    const product = mixed * 0x1b3;
    high = (Math.imul(high, 0x1b3) + Math.floor(product / 2 ** 32) + (mixed << 8)) >>> 0;
    low = product >>> 0;
  }
  return (BigInt(high) << 32n) | BigInt(low);
}

/** The hash as `digits` lower-case hexadecimal digits (at most 16). */
export function shortHash(text: string, digits = 11): string {
  return fnv1a64(text).toString(16).padStart(16, '0').slice(0, digits);
}
