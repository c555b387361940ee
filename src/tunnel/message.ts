/** `struct msghdr` with its name, parts and control data in `Memory`: one for sending, one for receiving. */
import { IOVEC_BYTES, type Memory } from './memory.ts';

const MSGHDR_BYTES = 56;
const CMSG_HEADER = 16;
const SOL_UDP = 17;
const UDP_SEGMENT = 103;
const UDP_GRO = 104;
const [SOL_IP, IP_RECVERR] = [0, 11];
const [SOL_IPV6, IPV6_RECVERR] = [41, 25];
const EMSGSIZE = 90;
/** sizeof(struct sockaddr_in6); an IPv4 socket's is 16. */
export const SOCKADDR_BYTES = 28;
const align = (size: number): number => Math.ceil(size / 8) * 8;

/** Offsets within struct msghdr. */
const AT = { name: 0, nameLength: 8, parts: 16, partCount: 24, control: 32, controlLength: 40 } as const;

function makeHeader(memory: Memory, parts: number, controlBytes: number) {
  const at = memory.reserve(MSGHDR_BYTES);
  const name = memory.reserve(SOCKADDR_BYTES);
  const iovecs = memory.reserve(parts * IOVEC_BYTES);
  const control = memory.reserve(controlBytes);
  memory.setPointer(at + AT.name, name);
  memory.setPointer(at + AT.parts, iovecs);
  memory.setPointer(at + AT.control, control);
  return { at, name, iovecs, control };
}

const setSize = (memory: Memory, at: number, size: number): void => memory.view.setUint32(at, size, true);

export class OutgoingMessage {
  readonly #memory: Memory;
  readonly at: number;
  readonly iovecs: number;
  readonly #name: number;
  readonly #control: number;
  readonly #segmentOnly = align(CMSG_HEADER + 2);
  readonly #extra: number;

  /** `extra`: control data of every message, as the kernel reads it; empty, or whole cmsgs. */
  constructor(memory: Memory, parts: number, extra: Uint8Array) {
    const made = makeHeader(memory, parts, this.#segmentOnly + extra.length);
    this.#memory = memory;
    this.#extra = extra.length;
    this.at = made.at;
    this.iovecs = made.iovecs;
    this.#name = made.name;
    this.#control = made.control;
    memory.bytes.set(extra, made.control);
    const segment = made.control + extra.length;
    memory.view.setBigUint64(segment, BigInt(CMSG_HEADER + 2), true);
    memory.view.setInt32(segment + 8, SOL_UDP, true);
    memory.view.setInt32(segment + 12, UDP_SEGMENT, true);
  }
  to(endpoint: Uint8Array): void {
    this.#memory.bytes.set(endpoint, this.#name);
    setSize(this.#memory, this.at + AT.nameLength, endpoint.length);
  }
  /** `segment`: the kernel cuts the parts into datagrams of this size (UDP_SEGMENT); 0: they are one datagram. */
  set(first: number, parts: number, segment: number): void {
    this.#memory.setPointer(this.at + AT.parts, this.iovecs + first * IOVEC_BYTES);
    setSize(this.#memory, this.at + AT.partCount, parts);
    const length = this.#extra + (segment === 0 ? 0 : this.#segmentOnly);
    setSize(this.#memory, this.at + AT.controlLength, length);
    if (segment !== 0) this.#memory.view.setUint16(this.#control + this.#extra + CMSG_HEADER, segment, true);
  }
  /** What would leave: for the in-memory twin of the socket. */
  get content(): { readonly data: Buffer; readonly segment: number; readonly to: Buffer } {
    const { view, bytes } = this.#memory;
    const parts = this.#memory.pointerAt(this.at + AT.parts);
    const length = view.getUint32(this.at + AT.controlLength, true);
    const cut = length > this.#extra;
    const nameLength = view.getUint32(this.at + AT.nameLength, true);
    return {
      data: this.#memory.gather(parts, view.getUint32(this.at + AT.partCount, true)),
      segment: cut ? view.getUint16(this.#control + this.#extra + CMSG_HEADER, true) : 0,
      to: Buffer.from(bytes.subarray(this.#name, this.#name + nameLength)),
    };
  }
}

export class IncomingMessage {
  readonly #memory: Memory;
  readonly at: number;
  readonly name: number;
  readonly #control: number;
  readonly #controlBytes = 256;
  readonly #nameBytes: number;

  constructor(memory: Memory, into: { readonly at: number; readonly size: number }, nameBytes: number) {
    const made = makeHeader(memory, 1, this.#controlBytes);
    this.#memory = memory;
    this.#nameBytes = nameBytes;
    this.at = made.at;
    this.name = made.name;
    this.#control = made.control;
    memory.setPart(made.iovecs, into.at, into.size);
    setSize(memory, made.at + AT.partCount, 1);
  }
  /** Before each call: the kernel writes into these fields what it used. */
  reset(): void {
    setSize(this.#memory, this.at + AT.nameLength, this.#nameBytes);
    setSize(this.#memory, this.at + AT.controlLength, this.#controlBytes);
  }
  /** The size of the datagrams that the kernel joined (UDP_GRO), or 0 when it is one. */
  segment(): number {
    const at = this.#controlOf(SOL_UDP, UDP_GRO);
    return at < 0 ? 0 : this.#memory.view.getInt32(at, true);
  }
  /** Of a message from the error queue (struct sock_extended_err): the MTU that a router told, or 0. */
  tooBig(): number {
    const six = this.#controlOf(SOL_IPV6, IPV6_RECVERR);
    const at = six < 0 ? this.#controlOf(SOL_IP, IP_RECVERR) : six;
    if (at < 0 || this.#memory.view.getUint32(at, true) !== EMSGSIZE) return 0;
    return this.#memory.view.getUint32(at + 8, true);
  }
  /** A copy of the sender's address. */
  nameBytes(): Buffer {
    return Buffer.from(this.#memory.bytes.subarray(this.name, this.name + this.#nameBytes));
  }
  /** Whether the sender's address is this. */
  hasName(name: Uint8Array): boolean {
    for (let at = 0; at < this.#nameBytes; at += 1)
      if (name[at] !== this.#memory.bytes[this.name + at]) return false;
    return true;
  }
  /** Where the data of this control message are, or −1. */
  #controlOf(level: number, type: number): number {
    const { view } = this.#memory;
    const end = this.#control + view.getUint32(this.at + AT.controlLength, true);
    for (let at = this.#control; at + CMSG_HEADER <= end;) {
      if (view.getInt32(at + 8, true) === level && view.getInt32(at + 12, true) === type)
        return at + CMSG_HEADER;
      at += align(view.getUint32(at, true));
    }
    return -1;
  }
}
