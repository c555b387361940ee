/**
 * Requests over one netlink socket. The kernel works off a request before `send` returns, so all is synchronous: send,
 * then read what already waits. Many messages go in one send; only the last asks for an acknowledgement, because
 * errors are told in any case. A socket belongs to the network namespace that it was opened in.
 */
import {
  close,
  errnoName,
  NETLINK_ROUTE,
  netlinkSocket,
  recv,
  recvAsync,
  recvNow,
  send,
  sendAsync,
  SysError,
} from '../sys.ts';
import {
  Attributes,
  HEADER_BYTES,
  type Message,
  type MessageWriter,
  NLM_F_ACK,
  NLM_F_DUMP_INTR,
  readMessages,
} from './message.ts';

const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLM_F_CAPPED = 0x100;
const NLM_F_ACK_TLVS = 0x200;
const NLMSGERR_ATTR_MSG = 1;

/** Larger sends gain nothing, and the kernel wants each in one piece of memory. */
const CHUNK_BYTES = 32 << 10;
/** More than the largest datagram that rtnetlink and nfnetlink make. */
const RECEIVE_BYTES = 256 << 10;
/** The kernel makes a piece of a dump no larger than 32 KiB when it is read by itself. */
const PIECE_BYTES = 64 << 10;
/** A table that never stands still is taken as it was seen last: events tell the rest. */
const DUMP_TRIES = 8;

/** One for all sockets of the thread, as every receive is read before the next: a `parse` must not make requests. */
const received = Buffer.alloc(RECEIVE_BYTES);

/** Why the kernel refused a message: errno, its name, and the kernel's own words (extended ack) if it gave any. */
export type Refusal = { readonly errno: number; readonly code: string; readonly reason: string };

/** A refused request, thrown. */
export class NetlinkError extends Error {
  readonly code: string;
  readonly errno: number;
  constructor(refusal: Refusal) {
    super(refusal.reason);
    this.name = 'NetlinkError';
    this.code = refusal.code;
    this.errno = refusal.errno;
  }
}

/** `refusals` by number of the message in its writer. `replies` are what `onReply` made of answers (echoes, gets). */
export type Outcome<T> = { readonly refusals: Map<number, Refusal>; readonly replies: T[] };

type OnReply<T> = (message: Message) => T | undefined;
const ignore = (): undefined => undefined;

export class NetlinkSocket implements Disposable {
  readonly fd: number;
  #seq = 1;

  constructor(fd: number) {
    this.fd = fd;
  }
  [Symbol.dispose](): void {
    close(this.fd);
  }

  /** Sends all messages, in as few pieces as good, and answers which were refused; the others have taken effect. */
  batch<T = never>(writer: MessageWriter, onReply: OnReply<T> = ignore): Outcome<T> {
    const outcome: Outcome<T> = { refusals: new Map(), replies: [] };
    const base = this.#number(writer);
    const { starts, bytes } = writer;
    for (let first = 0; first < starts.length;) {
      const from = starts[first] ?? 0;
      let after = first + 1;
      while (after < starts.length && endOf(writer, after) - from <= CHUNK_BYTES) after += 1;
      askForAck(writer, after - 1);
      const piece = bytes.subarray(from, endOf(writer, after - 1));
      send(this.fd, piece, piece.length, 0);
      this.#drain(base, outcome, onReply, base + after - 1);
      first = after;
    }
    return outcome;
  }

  /** Sends all messages in one piece with their flags as they are (an nfnetlink transaction). */
  transact<T = never>(writer: MessageWriter, onReply: OnReply<T> = ignore): Outcome<T> {
    const outcome: Outcome<T> = { refusals: new Map(), replies: [] };
    const base = this.#number(writer);
    send(this.fd, writer.bytes, writer.length, 0);
    this.#drain(base, outcome, onReply);
    return outcome;
  }

  /** `batch` in one piece from a pool thread, for what keeps the kernel busy. One at a time on a socket. */
  async batchAsync(writer: MessageWriter): Promise<Outcome<never>> {
    const outcome: Outcome<never> = { refusals: new Map(), replies: [] };
    const base = this.#number(writer);
    askForAck(writer, writer.starts.length - 1);
    if ((await sendAsync(this.fd, writer.bytes, writer.length, 0)) < 0) throw new SysError('send', 5);
    this.#drain(base, outcome, ignore);
    return outcome;
  }

  /** Like `batch`, but throws NetlinkError for the first refusal. */
  request<T = never>(writer: MessageWriter, onReply: OnReply<T> = ignore): T[] {
    const { refusals, replies } = this.batch(writer, onReply);
    for (const refusal of refusals.values()) throw new NetlinkError(refusal);
    return replies;
  }

  /** The table that the one message in the writer (with NLM_F_DUMP) asks for; begins again when it changed meanwhile. */
  dump<T>(writer: MessageWriter, parse: OnReply<T>): T[] {
    for (let attempt = 1; ; attempt += 1) {
      const base = this.#number(writer);
      send(this.fd, writer.bytes, writer.length, 0);
      const { rows, interrupted } = this.#readDump(base, parse);
      if (!interrupted || attempt === DUMP_TRIES) return rows;
    }
  }

  /**
   * `dump` once, from a pool thread and a piece at a time: for tables so large that they would hold up the loop. Only
   * pieces that are `wanted` are parsed. One at a time on a socket.
   */
  async dumpAsync<T>(
    writer: MessageWriter,
    parse: OnReply<T>,
    wanted: (piece: Buffer) => boolean,
  ): Promise<T[]> {
    const seq = this.#number(writer);
    const rows: T[] = [];
    if ((await sendAsync(this.fd, writer.bytes, writer.length, 0)) < 0) throw new SysError('send', 5);
    const piece = Buffer.alloc(PIECE_BYTES);
    for (;;) {
      const size = await recvAsync(this.fd, piece, PIECE_BYTES, 0);
      if (size < 0) throw new SysError('recv', 5);
      const toParse = wanted(piece.subarray(0, size));
      for (const message of readMessages(piece, size)) {
        if (message.seq !== seq) continue;
        if (isLast(message)) return rows;
        const row = toParse ? parse(message) : undefined;
        if (row !== undefined) rows.push(row);
      }
    }
  }

  #readDump<T>(seq: number, parse: OnReply<T>): { rows: T[]; interrupted: boolean } {
    const rows: T[] = [];
    let interrupted = false;
    for (;;) {
      const size = recv(this.fd, received, RECEIVE_BYTES, 0);
      for (const message of readMessages(received, size)) {
        if (message.seq !== seq) continue;
        if ((message.flags & NLM_F_DUMP_INTR) !== 0) interrupted = true;
        if (isLast(message)) return { rows, interrupted };
        const row = parse(message);
        if (row !== undefined) rows.push(row);
      }
    }
  }

  /** Gives every message its sequence number; answers the first. */
  #number(writer: MessageWriter): number {
    const base = this.#seq;
    for (const [index, start] of writer.starts.entries()) {
      writer.bytes.writeUInt32LE(base + index, start + 8);
    }
    // Far below 2³², and never 0, which is the number of events.
    this.#seq = base + writer.starts.length > 0x7fff_0000 ? 1 : base + writer.starts.length;
    return base;
  }

  /** Takes what waits. `last`: nothing follows the word on this message; otherwise only the empty socket tells. */
  // eslint-disable-next-line max-params
  #drain<T>(base: number, outcome: Outcome<T>, onReply: OnReply<T>, last?: number): void {
    for (let over = false; !over;) {
      const size = recvNow(this.fd, received);
      if (size < 0) return;
      for (const message of readMessages(received, size)) {
        this.#sort(message, base, outcome, onReply);
        if (message.type === NLMSG_ERROR && message.seq === last) over = true;
      }
    }
  }

  // eslint-disable-next-line max-params
  #sort<T>(message: Message, base: number, outcome: Outcome<T>, onReply: OnReply<T>): void {
    if (message.type === NLMSG_ERROR) {
      const refusal = readRefusal(message);
      if (refusal !== undefined) outcome.refusals.set(message.seq - base, refusal);
      return;
    }
    const reply = onReply(message);
    if (reply !== undefined) outcome.replies.push(reply);
  }
}

/** A socket for requests in the calling thread's network namespace. */
export function openNetlink(protocol: number = NETLINK_ROUTE): NetlinkSocket {
  return new NetlinkSocket(netlinkSocket(protocol));
}

/** Whether the dump ends here. Throws NetlinkError when it ends with a refusal. */
function isLast(message: Message): boolean {
  if (message.type !== NLMSG_DONE && message.type !== NLMSG_ERROR) return false;
  const refusal = readRefusal(message);
  if (refusal !== undefined) throw new NetlinkError(refusal);
  return true;
}

function endOf(writer: MessageWriter, number: number): number {
  return writer.starts[number + 1] ?? writer.length;
}

function askForAck(writer: MessageWriter, number: number): void {
  const at = (writer.starts[number] ?? 0) + 6;
  writer.bytes.writeUInt16LE(writer.bytes.readUInt16LE(at) | NLM_F_ACK, at);
}

/** What NLMSG_ERROR or NLMSG_DONE says; undefined when it is an acknowledgement. */
function readRefusal({ type, flags, bytes, at, end }: Message): Refusal | undefined {
  const errno = end - at < 4 ? 0 : -bytes.readInt32LE(at);
  if (errno <= 0) return undefined;
  const code = errnoName(errno);
  let attributes = at + 4;
  if (type === NLMSG_ERROR) {
    attributes += (flags & NLM_F_CAPPED) === 0 ? bytes.readUInt32LE(at + 4) : HEADER_BYTES;
  }
  if ((flags & NLM_F_ACK_TLVS) === 0 || attributes > end) return { errno, code, reason: code };
  const words = new Attributes(bytes, (attributes + 3) & ~3, end).str(NLMSGERR_ATTR_MSG);
  return { errno, code, reason: words === undefined ? code : `${code}: ${words}` };
}
