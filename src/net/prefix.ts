import {
  type Address,
  addressBits,
  addressFamily,
  addressFrom,
  addressValue,
  type Family,
  parseAddress,
} from './address.ts';

/** A network prefix as canonical text, `address/length` with all host bits zero. Equal exactly when the texts are. */
export type Prefix = string & { readonly __brand: 'Prefix' };
/** An interface address, `address/length` with its host bits (what `ip addr` shows), as canonical text. */
export type InterfaceAddress = string & { readonly __brand: 'InterfaceAddress' };

const CIDR = /^([^/]+)\/(0|[1-9]\d{0,2})$/;

function split(text: string): { address: Address; length: number } | undefined {
  const match = CIDR.exec(text);
  const parsed = match === null ? undefined : parseAddress(match[1] ?? '');
  if (parsed === undefined) return undefined;
  const length = Number(match?.[2]);
  return length > addressBits(addressFamily(parsed)) ? undefined : { address: parsed, length };
}

function parts(prefix: Prefix | InterfaceAddress): { address: Address; length: number } {
  const slash = prefix.lastIndexOf('/');
  return { address: prefix.slice(0, slash) as Address, length: Number(prefix.slice(slash + 1)) };
}

/** The prefix, or undefined when the text is not one or has host bits set. */
export function parsePrefix(text: string): Prefix | undefined {
  const found = split(text);
  if (found === undefined) return undefined;
  const whole = prefixOf(found.address, found.length);
  return prefixAddress(whole) === found.address ? whole : undefined;
}

/** For literals in code and tests: throws TypeError on text that is not a prefix. */
export function prefix(text: string): Prefix {
  const parsed = parsePrefix(text);
  if (parsed === undefined) throw new TypeError(`not a network prefix: ${JSON.stringify(text)}`);
  return parsed;
}

export function parseInterfaceAddress(text: string): InterfaceAddress | undefined {
  const found = split(text);
  return found === undefined ? undefined : interfaceAddress(found.address, found.length);
}

export function interfaceAddress(address: Address, length: number): InterfaceAddress {
  return `${address}/${length}` as InterfaceAddress;
}

/** The prefix of this length that holds the address. */
export function prefixOf(address: Address, length: number): Prefix {
  const family = addressFamily(address);
  const host = BigInt(addressBits(family) - length);
  return `${addressFrom(family, (addressValue(address) >> host) << host)}/${length}` as Prefix;
}

/** The /32 or /128 of one address. */
export function hostPrefix(address: Address): Prefix {
  return `${address}/${addressBits(addressFamily(address))}` as Prefix;
}

export function prefixAddress(prefix: Prefix | InterfaceAddress): Address {
  return parts(prefix).address;
}

export function prefixLength(prefix: Prefix | InterfaceAddress): number {
  return parts(prefix).length;
}

export function prefixFamily(prefix: Prefix | InterfaceAddress): Family {
  return prefix.includes(':') ? 6 : 4;
}

/** How many addresses the prefix spans. */
export function prefixSize(prefix: Prefix): bigint {
  return 1n << BigInt(addressBits(prefixFamily(prefix)) - prefixLength(prefix));
}

/** The address `index` places after the first; throws RangeError outside the prefix. */
export function nthAddress(prefix: Prefix, index: bigint): Address {
  if (index < 0n || index >= prefixSize(prefix))
    throw new RangeError(`${prefix} has no address number ${index}`);
  return addressFrom(prefixFamily(prefix), addressValue(prefixAddress(prefix)) + index);
}

export function lastAddress(prefix: Prefix): Address {
  return nthAddress(prefix, prefixSize(prefix) - 1n);
}

/** The subnet `index` places after the first of the subnets of `length` bits; throws RangeError outside the prefix. */
export function nthSubnet(prefix: Prefix, length: number, index: bigint): Prefix {
  const family = prefixFamily(prefix);
  const size = 1n << BigInt(addressBits(family) - length);
  if (length < prefixLength(prefix) || index < 0n || (index + 1n) * size > prefixSize(prefix)) {
    throw new RangeError(`${prefix} has no /${length} number ${index}`);
  }
  return `${addressFrom(family, addressValue(prefixAddress(prefix)) + index * size)}/${length}` as Prefix;
}

export function contains(outer: Prefix, inner: Address | Prefix | InterfaceAddress): boolean {
  const slash = inner.lastIndexOf('/');
  const address = (slash < 0 ? inner : inner.slice(0, slash)) as Address;
  if (addressFamily(address) !== prefixFamily(outer)) return false;
  if (slash >= 0 && Number(inner.slice(slash + 1)) < prefixLength(outer)) return false;
  return prefixOf(address, prefixLength(outer)) === outer;
}

export function overlaps(a: Prefix, b: Prefix): boolean {
  // Node subnets mostly are of one length, and there are thousands.
  if (prefixLength(a) === prefixLength(b)) return a === b;
  return contains(a, b) || contains(b, a);
}
