/** FNV-1a, for names and deterministic MAC addresses. Not a cryptographic hash. */

/** 64-bit FNV-1a of the UTF-8 text. */
export function fnv1a64(text: string): bigint {
  let hash = 0xcbf29ce484222325n;
  for (const byte of new TextEncoder().encode(text)) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  }
  return hash;
}

/** The hash as `digits` lower-case hexadecimal digits (at most 16). */
export function shortHash(text: string, digits = 11): string {
  return fnv1a64(text).toString(16).padStart(16, '0').slice(0, digits);
}
