/**
 * Netlink messages as bytes (include/uapi/linux/netlink.h): a writer that packs any number of messages one behind the
 * other, and a reader of attributes. Every message and attribute starts on a multiple of four. Integers are
 * host-endian (little, see #lib/bytes.ts) unless the method's name ends in `be`.
 */
import { addressBytes, type Address } from '#net/address.ts';
import { type Mac, macBytes } from '#net/mac.ts';

export const NLM_F_REQUEST = 0x1;
export const NLM_F_ACK = 0x4;
export const NLM_F_ECHO = 0x8;
export const NLM_F_DUMP_INTR = 0x10;
export const NLM_F_DUMP = 0x300;
export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;
export const NLM_F_APPEND = 0x800;

export const HEADER_BYTES = 16;
const NLA_F_NESTED = 0x8000;
/** Two top bits of an attribute's type are flags (NLA_F_NESTED, NLA_F_NET_BYTEORDER). */
const NLA_TYPE_MASK = 0x3fff;
/** nla_len has 16 bits. */
const MAX_ATTRIBUTE_BYTES = 0xffff;

const aligned = (size: number): number => (size + 3) & ~3;

/** Packs messages: `begin`, family header by `put…`, attributes, `end`; then again, or hand it to a NetlinkSocket. */
export class MessageWriter {
  bytes: Buffer = Buffer.alloc(4096);
  length = 0;
  /** Offset of each message, in order: a message's number is its index here. */
  readonly starts: number[] = [];

  /** NLM_F_REQUEST is added. Answers the message's number, by which errors are told. */
  begin(type: number, flags: number): number {
    this.starts.push(this.length);
    this.put32(0);
    this.put16(type);
    this.put16(flags | NLM_F_REQUEST);
    this.put32(0);
    this.put32(0);
    return this.starts.length - 1;
  }
  end(): void {
    const start = this.starts.at(-1) ?? 0;
    this.bytes.writeUInt32LE(this.length - start, start);
  }
  /** Takes back what was packed from message `number` on (a message that could not be completed). */
  rewind(number: number): void {
    this.length = this.starts[number] ?? this.length;
    this.starts.length = number;
  }
  clear(): void {
    this.length = 0;
    this.starts.length = 0;
  }

  #take(size: number): number {
    const at = this.length;
    this.length = at + size;
    if (this.length > this.bytes.length) {
      const larger = Buffer.alloc(Math.max(this.length, this.bytes.length * 2));
      this.bytes.copy(larger, 0, 0, at);
      this.bytes = larger;
    }
    return at;
  }
  put8(value: number): void {
    const at = this.#take(1);
    this.bytes[at] = value;
  }
  put16(value: number): void {
    const at = this.#take(2);
    this.bytes.writeUInt16LE(value, at);
  }
  put16be(value: number): void {
    const at = this.#take(2);
    this.bytes.writeUInt16BE(value, at);
  }
  put32(value: number): void {
    const at = this.#take(4);
    this.bytes.writeUInt32LE(value >>> 0, at);
  }
  putBytes(value: Uint8Array): void {
    const at = this.#take(value.length);
    this.bytes.set(value, at);
  }

  /** Room for an attribute of `size` bytes, padding zeroed; answers where its payload starts. */
  #attribute(type: number, size: number): number {
    if (size + 4 > MAX_ATTRIBUTE_BYTES) throw new RangeError(`attribute ${type} of ${size} bytes`);
    const at = this.#take(aligned(size + 4));
    this.bytes.writeUInt16LE(size + 4, at);
    this.bytes.writeUInt16LE(type, at + 2);
    if ((size & 3) !== 0) this.bytes.fill(0, at + 4 + size, this.length);
    return at + 4;
  }
  /** An attribute without payload whose presence is its value (NLA_FLAG). */
  flag(type: number): void {
    this.#attribute(type, 0);
  }
  u8(type: number, value: number): void {
    const at = this.#attribute(type, 1);
    this.bytes[at] = value;
  }
  u16(type: number, value: number): void {
    const at = this.#attribute(type, 2);
    this.bytes.writeUInt16LE(value, at);
  }
  u16be(type: number, value: number): void {
    const at = this.#attribute(type, 2);
    this.bytes.writeUInt16BE(value, at);
  }
  u32(type: number, value: number): void {
    const at = this.#attribute(type, 4);
    this.bytes.writeUInt32LE(value >>> 0, at);
  }
  u32be(type: number, value: number): void {
    const at = this.#attribute(type, 4);
    this.bytes.writeUInt32BE(value >>> 0, at);
  }
  u64(type: number, value: bigint): void {
    const at = this.#attribute(type, 8);
    this.bytes.writeBigUInt64LE(value, at);
  }
  u64be(type: number, value: bigint): void {
    const at = this.#attribute(type, 8);
    this.bytes.writeBigUInt64BE(value, at);
  }
  /** With its closing NUL. */
  str(type: number, value: string): void {
    const size = Buffer.byteLength(value);
    const at = this.#attribute(type, size + 1);
    this.bytes.write(value, at);
    this.bytes[at + size] = 0;
  }
  data(type: number, value: Uint8Array): void {
    const at = this.#attribute(type, value.length);
    this.bytes.set(value, at);
  }
  mac(type: number, mac: Mac): void {
    this.data(type, macBytes(mac));
  }
  /** 4 or 16 bytes in network order. */
  address(type: number, address: Address): void {
    if (address.includes(':')) return this.data(type, addressBytes(address));
    // Tens of thousands of routes pass here: twenty times faster than by way of bigint.
    let at = this.#attribute(type, 4);
    let value = 0;
    for (let index = 0; index < address.length; index += 1) {
      const digit = address.charCodeAt(index) - 48;
      if (digit >= 0) value = value * 10 + digit;
      else {
        this.bytes[at++] = value;
        value = 0;
      }
    }
    this.bytes[at] = value;
  }
  /** An attribute whose payload is the attributes that `body` writes. */
  nest(type: number, body: () => void): void {
    const at = this.#take(4);
    body();
    const size = this.length - at;
    if (size > MAX_ATTRIBUTE_BYTES) throw new RangeError(`attribute ${type} of ${size} bytes`);
    this.bytes.writeUInt16LE(size, at);
    this.bytes.writeUInt16LE(type | NLA_F_NESTED, at + 2);
  }
}

/** Calls `visit` with type (without flags) and payload window of each attribute between `at` and `end`. */
export function eachAttribute(
  bytes: Buffer,
  at: number,
  end: number,
  visit: (type: number, at: number, end: number) => void,
): void {
  let next = at;
  while (next + 4 <= end) {
    const size = bytes.readUInt16LE(next);
    if (size < 4 || next + size > end) throw new RangeError(`attribute of ${size} bytes`);
    visit(bytes.readUInt16LE(next + 2) & NLA_TYPE_MASK, next + 4, next + size);
    next += aligned(size);
  }
}

/**
 * The attributes of one message or nest, by type (the last one wins). The values are read from the receive buffer,
 * which the next receive overwrites: keep what the methods answer, never the object. Absent attributes are undefined.
 */
export class Attributes {
  readonly #bytes: Buffer;
  readonly #places = new Map<number, number>();

  constructor(bytes: Buffer, at: number, end: number) {
    this.#bytes = bytes;
    eachAttribute(bytes, at, end, (type, from) => this.#places.set(type, from));
  }
  #end(at: number): number {
    return at - 4 + this.#bytes.readUInt16LE(at - 4);
  }
  #number(type: number, size: number, read: (at: number) => number): number | undefined {
    const at = this.#places.get(type);
    if (at === undefined) return undefined;
    if (this.#end(at) < at + size) throw new RangeError(`attribute ${type} is shorter than ${size}`);
    return read(at);
  }
  has(type: number): boolean {
    return this.#places.has(type);
  }
  u8(type: number): number | undefined {
    return this.#number(type, 1, (at) => this.#bytes.readUInt8(at));
  }
  u16(type: number): number | undefined {
    return this.#number(type, 2, (at) => this.#bytes.readUInt16LE(at));
  }
  u16be(type: number): number | undefined {
    return this.#number(type, 2, (at) => this.#bytes.readUInt16BE(at));
  }
  u32(type: number): number | undefined {
    return this.#number(type, 4, (at) => this.#bytes.readUInt32LE(at));
  }
  i32(type: number): number | undefined {
    return this.#number(type, 4, (at) => this.#bytes.readInt32LE(at));
  }
  u32be(type: number): number | undefined {
    return this.#number(type, 4, (at) => this.#bytes.readUInt32BE(at));
  }
  u64be(type: number): bigint | undefined {
    const bytes = this.data(type);
    return bytes === undefined || bytes.length < 8 ? undefined : bytes.readBigUInt64BE();
  }
  /** Text up to the first NUL. */
  str(type: number): string | undefined {
    const at = this.#places.get(type);
    if (at === undefined) return undefined;
    const end = this.#end(at);
    const nul = this.#bytes.indexOf(0, at);
    return this.#bytes.toString('utf8', at, nul < 0 || nul > end ? end : nul);
  }
  /** A view into the receive buffer: copy it to keep it. */
  data(type: number): Buffer | undefined {
    const at = this.#places.get(type);
    return at === undefined ? undefined : this.#bytes.subarray(at, this.#end(at));
  }
  nest(type: number): Attributes | undefined {
    const at = this.#places.get(type);
    return at === undefined ? undefined : new Attributes(this.#bytes, at, this.#end(at));
  }
}

/** One received message: its payload (family header, then attributes) is `bytes` from `at` to `end`. */
export type Message = {
  readonly type: number;
  readonly flags: number;
  readonly seq: number;
  readonly bytes: Buffer;
  readonly at: number;
  readonly end: number;
};

/** Splits a datagram into its messages. */
export function* readMessages(bytes: Buffer, end: number = bytes.length): Generator<Message> {
  let next = 0;
  while (next + HEADER_BYTES <= end) {
    const size = bytes.readUInt32LE(next);
    if (size < HEADER_BYTES || next + size > end) throw new RangeError(`netlink message of ${size} bytes`);
    yield {
      type: bytes.readUInt16LE(next + 4),
      flags: bytes.readUInt16LE(next + 6),
      seq: bytes.readUInt32LE(next + 8),
      bytes,
      at: next + HEADER_BYTES,
      end: next + size,
    };
    next += aligned(size);
  }
}
