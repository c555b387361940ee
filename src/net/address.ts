/**
 * IP addresses as canonical text: dotted quad, or RFC 5952 for IPv6. Two addresses are equal exactly when their
 * texts are equal, so they serve as map keys and JSON as they are. IPv4-mapped IPv6 stays IPv6.
 */
export type Address = string & { readonly __brand: 'Address' };
export type Family = 4 | 6;

export const FAMILIES: readonly Family[] = [4, 6];

export function addressBits(family: Family): 32 | 128 {
  return family === 4 ? 32 : 128;
}

export function addressFamily(address: Address): Family {
  return address.includes(':') ? 6 : 4;
}

/** The address, or undefined when the text is not one. No zone, no prefix length, no white space, no octal. */
export function parseAddress(text: string): Address | undefined {
  if (text.length > 45) return undefined;
  // A dotted quad has one spelling.
  if (!text.includes(':')) return parse4(text) === undefined ? undefined : (text as Address);
  const value = parse6(text);
  return value === undefined ? undefined : addressFrom(6, value);
}

/** For literals in code and tests: throws TypeError on text that is not an address. */
export function address(text: string): Address {
  const parsed = parseAddress(text);
  if (parsed === undefined) throw new TypeError(`not an IP address: ${JSON.stringify(text)}`);
  return parsed;
}

export function addressValue(address: Address): bigint {
  const value = addressFamily(address) === 4 ? parse4(address) : parse6(address);
  if (value === undefined) throw new TypeError(`not an IP address: ${JSON.stringify(address)}`);
  return BigInt(value);
}

/** The address with this number; throws RangeError outside the family's range. */
export function addressFrom(family: Family, value: bigint): Address {
  if (value < 0n || value >> BigInt(addressBits(family)) !== 0n) {
    throw new RangeError(`${value} is outside the IPv${family} range`);
  }
  return (family === 4 ? format4(value) : format6(value)) as Address;
}

/** Network byte order, 4 or 16 bytes. */
export function addressBytes(address: Address): Uint8Array {
  if (addressFamily(address) === 4) {
    const value = Number(addressValue(address));
    return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
  }
  const bytes = new Uint8Array(16);
  let value = addressValue(address);
  for (let index = bytes.length - 1; index >= 0; index -= 1) {
    bytes[index] = Number(value & 0xffn);
    value >>= 8n;
  }
  return bytes;
}

/** From 4 or 16 bytes in network order; throws RangeError on any other length. */
export function addressFromBytes(bytes: Uint8Array): Address {
  if (bytes.length !== 4 && bytes.length !== 16) throw new RangeError(`${bytes.length} bytes are no address`);
  if (bytes.length === 4) return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}` as Address;
  let value = 0n;
  for (const byte of bytes) value = (value << 8n) | BigInt(byte);
  return addressFrom(6, value);
}

export function compareAddresses(a: Address, b: Address): number {
  const byFamily = addressFamily(a) - addressFamily(b);
  if (byFamily !== 0) return byFamily;
  const difference = addressValue(a) - addressValue(b);
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}

const NONE = -1;

/** Asked for every address of every peer and pod, so without a regular expression: that takes four times as long. */
function parse4(text: string): number | undefined {
  let [value, octet, dots] = [0, NONE, 0];
  for (let index = 0; index < text.length; index += 1) {
    const digit = text.charCodeAt(index) - 48;
    const isDot = digit === -2;
    if (isDot) [value, dots] = [value * 256 + octet, dots + 1];
    const next = isDot ? NONE : withDigit(octet, digit);
    if ((isDot ? octet : next) === NONE) return undefined;
    octet = next;
  }
  return dots === 3 && octet !== NONE ? value * 256 + octet : undefined;
}

/** Decimal, without leading zeros, at most 255. */
function withDigit(octet: number, digit: number): number {
  if (digit < 0 || digit > 9 || octet === 0) return NONE;
  const value = Math.max(octet, 0) * 10 + digit;
  return value > 255 ? NONE : value;
}

function parse6(text: string): bigint | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const [head, tail] = halves.map(parseGroups);
  if (head === undefined) return undefined;
  if (halves.length === 1) return head.length === 8 ? joinGroups(head) : undefined;
  if (tail === undefined || head.length + tail.length > 7) return undefined;
  return joinGroups([...head, ...Array<number>(8 - head.length - tail.length).fill(0), ...tail]);
}

/** The 16-bit groups of one side of `::`; an embedded dotted quad counts as two. */
function parseGroups(text: string): number[] | undefined {
  if (text === '') return [];
  const groups: number[] = [];
  const parts = text.split(':');
  for (const [index, part] of parts.entries()) {
    if (part.includes('.') && index === parts.length - 1) {
      const quad = parse4(part);
      if (quad === undefined) return undefined;
      groups.push(quad >>> 16, quad & 0xffff);
    } else if (/^[0-9a-fA-F]{1,4}$/.test(part)) groups.push(Number.parseInt(part, 16));
    else return undefined;
  }
  return groups;
}

function joinGroups(groups: readonly number[]): bigint {
  let value = 0n;
  for (const group of groups) value = (value << 16n) | BigInt(group);
  return value;
}

function format4(value: bigint): string {
  const number = Number(value);
  return `${number >>> 24}.${(number >>> 16) & 255}.${(number >>> 8) & 255}.${number & 255}`;
}

/** RFC 5952: lower case, no leading zeros, the first longest run of two or more zero groups as `::`. */
function format6(value: bigint): string {
  const groups = Array.from({ length: 8 }, (_, index) =>
    Number((value >> BigInt(112 - 16 * index)) & 0xffffn),
  );
  let best = { start: -1, length: 1 };
  for (let start = 0; start < 8; start += 1) {
    let length = 0;
    while (groups[start + length] === 0) length += 1;
    if (length > best.length) best = { start, length };
  }
  const hex = (part: number[]): string => part.map((group) => group.toString(16)).join(':');
  if (best.start < 0) return hex(groups);
  return `${hex(groups.slice(0, best.start))}::${hex(groups.slice(best.start + best.length))}`;
}
