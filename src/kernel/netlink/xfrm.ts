/**
 * What states and policies of IPsec have in common over NETLINK_XFRM (include/uapi/linux/xfrm.h): numbers, addresses and
 * selectors. Multi-byte numbers of packets are in network order, all others in the host's.
 */
import { type Address, addressBytes, addressFromBytes, type Family } from '#net/address.ts';
import { prefix, type Prefix, prefixAddress, prefixFamily, prefixLength } from '#net/prefix.ts';
import type { MessageWriter } from './message.ts';

export const XFRM_MSG = {
  newState: 0x10,
  deleteState: 0x11,
  getState: 0x12,
  newPolicy: 0x13,
  deletePolicy: 0x14,
  getPolicy: 0x15,
  expire: 0x18,
  updatePolicy: 0x19,
  updateState: 0x1a,
  flushState: 0x1c,
  flushPolicy: 0x1d,
} as const;

export const XFRMA = {
  encapsulation: 4,
  template: 5,
  state: 6,
  policy: 7,
  aead: 18,
  replayEsn: 23,
  ifId: 31,
} as const;

export const IPPROTO_ESP = 50;
/** XFRM_MODE_*. */
export const MODE = { transport: 0, tunnel: 1 } as const;
export type XfrmMode = keyof typeof MODE;
export const modeOf = (number: number): XfrmMode => (number === MODE.transport ? 'transport' : 'tunnel');

const AF_INET = 2;
const AF_INET6 = 10;
const PORT_OFFSET = 32;
export const SELECTOR_BYTES = 56;
const LIFETIMES_BYTES = 64 + 32;
const NO_LIMIT = Buffer.alloc(4 * 8, 0xff);

export const numberOfFamily = (family: Family): number => (family === 4 ? AF_INET : AF_INET6);
export const familyOfNumber = (number: number): Family => (number === AF_INET ? 4 : 6);

/** xfrm_address_t: 16 bytes, of which an IPv4 address takes the first four. */
export function putAddress(writer: MessageWriter, address: Address | undefined): void {
  const bytes = address === undefined ? [] : addressBytes(address);
  writer.putBytes(Uint8Array.from({ length: 16 }, (_, index) => bytes[index] ?? 0));
}
export function readAddress(bytes: Buffer, at: number, family: Family): Address {
  return addressFromBytes(bytes.subarray(at, at + (family === 4 ? 4 : 16)));
}

export function put32be(writer: MessageWriter, value: number): void {
  writer.put16be(value >>> 16);
  writer.put16be(value & 0xffff);
}

/** Packets that a policy is about. */
export type Selector = {
  readonly source: Prefix;
  readonly destination: Prefix;
  /** IANA number; absent: any. */
  readonly protocol?: number;
  /** Destination port; absent: any. */
  readonly port?: number;
};

/** struct xfrm_selector; undefined: all packets of both families. */
export function putSelector(writer: MessageWriter, selector: Selector | undefined): void {
  if (selector === undefined) return writer.putBytes(new Uint8Array(SELECTOR_BYTES));
  const { source, destination, protocol = 0, port } = selector;
  putAddress(writer, prefixAddress(destination));
  putAddress(writer, prefixAddress(source));
  writer.put16be(port ?? 0);
  writer.put16be(port === undefined ? 0 : 0xffff);
  writer.put32(0);
  writer.put16(numberOfFamily(prefixFamily(source)));
  writer.put8(prefixLength(destination));
  writer.put8(prefixLength(source));
  writer.put8(protocol);
  writer.putBytes(new Uint8Array(3));
  writer.put32(0);
  writer.put32(0);
}

export function readSelector(bytes: Buffer, at: number): Selector {
  const family = familyOfNumber(bytes.readUInt16LE(at + 40));
  const side = (address: number, length: number): Prefix =>
    prefix(`${readAddress(bytes, at + address, family)}/${bytes.readUInt8(at + length)}`);
  const protocol = bytes.readUInt8(at + 44);
  const masked = bytes.readUInt16BE(at + PORT_OFFSET + 2) !== 0;
  return {
    source: side(16, 43),
    destination: side(0, 42),
    ...(protocol === 0 ? {} : { protocol }),
    ...(masked ? { port: bytes.readUInt16BE(at + PORT_OFFSET) } : {}),
  };
}

/** struct xfrm_lifetime_cfg and xfrm_lifetime_cur: nothing ends by itself. */
export function putLifetimes(writer: MessageWriter): void {
  writer.putBytes(NO_LIMIT);
  writer.putBytes(new Uint8Array(LIFETIMES_BYTES - NO_LIMIT.length));
}
