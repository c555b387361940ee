/**
 * Connection tracking entries of one network namespace by ctnetlink
 * (include/uapi/linux/netfilter/nfnetlink_conntrack.h): those that match are deleted, so that a connection does not go
 * on by a translation or verdict that no longer holds.
 */
import { SharedRun } from '#lib/shared-run.ts';
import { type Address, addressBytes, addressFromBytes } from '#net/address.ts';
import type { Protocol } from '#model/attachment.ts';
import { PROTOCOL } from '#model/policy.ts';
import type { ConntrackFilter } from './kernel.ts';
import { Attributes, type Message, MessageWriter, NLM_F_ACK, NLM_F_DUMP } from './netlink/message.ts';
import { NetlinkError, type NetlinkSocket, openNetlink } from './netlink/socket.ts';
import type { Scope } from './scope.ts';
import { NETLINK_NETFILTER } from './sys.ts';

const NFNL_SUBSYS_CTNETLINK = 1;
const IPCTNL_MSG_CT_GET = 1;
const IPCTNL_MSG_CT_DELETE = 2;
const NFGENMSG_BYTES = 4;
export const CTA = { original: 1, reply: 2, mark: 8, id: 12, zone: 18, markMask: 21 } as const;
const TUPLE = { ip: 1, protocol: 2 } as const;
const IP = { source4: 1, destination4: 2, source6: 3, destination6: 4 } as const;
const PROTO = {
  number: 1,
  sourcePort: 2,
  destinationPort: 3,
  type4: 5,
  code4: 6,
  type6: 8,
  code6: 9,
} as const;
const PROTOCOLS: Readonly<Record<Protocol, number>> = { tcp: 6, udp: 17, sctp: 132 };

const WITH_PORTS: ReadonlySet<number> = new Set([
  PROTOCOL.tcp,
  PROTOCOL.udp,
  PROTOCOL.sctp,
  PROTOCOL.udplite,
]);

/** One direction of a connection. `port` is the destination's; absent where the protocol has none. */
export type Tuple = {
  readonly protocol: number;
  readonly source: Address | undefined;
  readonly destination: Address | undefined;
  readonly port: number | undefined;
  readonly sourcePort?: number | undefined;
  readonly icmp?: { readonly type: number; readonly code: number } | undefined;
};
export type Connection = { readonly original: Tuple; readonly reply: Tuple };

/** With what the kernel needs to find exactly this entry again, as it told it. */
export type Entry = Connection & {
  readonly mark: number;
  readonly family: number;
  readonly raw: Buffer;
  readonly id: Buffer | undefined;
  readonly zone: Buffer | undefined;
};

/** Whether all that the filter names holds of the connection; an empty filter matches nothing. */
export function matches(connection: Connection, filter: ConntrackFilter): boolean {
  const { original, reply } = connection;
  const { protocol, originalDestination, originalDestinationPort, anyAddress } = filter;
  if (Object.values(filter).every((value) => value === undefined)) return false;
  if (protocol !== undefined && original.protocol !== PROTOCOLS[protocol]) return false;
  if (originalDestination !== undefined && original.destination !== originalDestination) return false;
  if (originalDestinationPort !== undefined && original.port !== originalDestinationPort) return false;
  return (
    anyAddress === undefined ||
    [original.source, original.destination, reply.source, reply.destination].includes(anyAddress)
  );
}

/** A table is searched for the bytes of so many addresses before it is parsed. */
const SEARCHED = 8;

/**
 * Deletes entries of both families. Each flush walks the whole table, 5 ms when it is empty: it runs on a pool thread,
 * and what is asked for meanwhile shares the next one. The socket stays open, because closing one of netfilter's waits
 * for transactions of nftables.
 */
export class Conntrack {
  readonly #socket: NetlinkSocket;
  readonly #runs = new SharedRun<ConntrackFilter>((filters) => this.#flushNow([...filters]));

  constructor(run: Scope['run']) {
    this.#socket = run(() => openNetlink(NETLINK_NETFILTER));
  }
  /** Once nothing is under way. */
  close(): void {
    void this.#runs.ended().then(() => this.#socket[Symbol.dispose]());
  }
  /** Resolves when what matched one of the filters is gone. */
  flush(filters: readonly ConntrackFilter[]): Promise<void> {
    return this.#runs.ask(filters);
  }
  async #flushNow(filters: readonly ConntrackFilter[]): Promise<void> {
    if (filters.length === 0) return;
    const isDoomed = (entry: Entry): boolean => filters.some((filter) => matches(entry, filter));
    const doomed = await dumpMatching(this.#socket, isDoomed, mayMatch(filters));
    if (doomed.length === 0) return;
    const { refusals } = this.#socket.batch(deletions(doomed));
    for (const refusal of refusals.values()) {
      // Ended by itself meanwhile.
      if (refusal.code !== 'ENOENT') throw new NetlinkError(refusal);
    }
  }
}

export function begin(writer: MessageWriter, message: number, flags: number, family: number): void {
  writer.begin((NFNL_SUBSYS_CTNETLINK << 8) | message, flags);
  writer.put8(family);
  writer.put8(0);
  writer.put16be(0);
}

/** On a pool thread; `mayMatch` spares pieces of the table from being parsed. */
export function dumpMatching(
  socket: NetlinkSocket,
  isWanted: (entry: Entry) => boolean,
  mayMatch: (piece: Buffer) => boolean,
): Promise<Entry[]> {
  const AF_UNSPEC = 0;
  const writer = new MessageWriter();
  begin(writer, IPCTNL_MSG_CT_GET, NLM_F_DUMP, AF_UNSPEC);
  writer.end();
  const parse = (message: Message): Entry | undefined => {
    const entry = readEntry(message);
    return entry !== undefined && isWanted(entry) ? keep(entry) : undefined;
  };
  return socket.dumpAsync(writer, parse, mayMatch);
}

/** A piece of the table without the bytes of any address that is looked for need not be parsed. */
function mayMatch(filters: readonly ConntrackFilter[]): (piece: Buffer) => boolean {
  const addresses = filters.flatMap((filter) => filter.anyAddress ?? []);
  if (addresses.length < filters.length || addresses.length > SEARCHED) return () => true;
  const looked = addresses.map((address) => Buffer.from(addressBytes(address)));
  return (piece) => looked.some((bytes) => piece.includes(bytes));
}

function deletions(entries: readonly Entry[]): MessageWriter {
  const writer = new MessageWriter();
  for (const entry of entries) {
    begin(writer, IPCTNL_MSG_CT_DELETE, NLM_F_ACK, entry.family);
    name(writer, entry);
    writer.end();
  }
  return writer;
}

/** Which entry is meant. */
export function name(writer: MessageWriter, { raw, id, zone }: Entry): void {
  writer.nest(CTA.original, () => writer.putBytes(raw));
  if (id !== undefined) writer.data(CTA.id, id);
  if (zone !== undefined) writer.data(CTA.zone, zone);
}

/** The entry with views into the receive buffer. */
function readEntry(message: Message): Entry | undefined {
  const entry = new Attributes(message.bytes, message.at + NFGENMSG_BYTES, message.end);
  const original = entry.nest(CTA.original);
  const reply = entry.nest(CTA.reply);
  const raw = entry.data(CTA.original);
  if (original === undefined || reply === undefined || raw === undefined) return undefined;
  return {
    family: message.bytes.readUInt8(message.at),
    mark: entry.u32be(CTA.mark) ?? 0,
    original: readTuple(original),
    reply: readTuple(reply),
    raw,
    id: entry.data(CTA.id),
    zone: entry.data(CTA.zone),
  };
}

function keep(entry: Entry): Entry {
  const copy = (bytes: Buffer | undefined): Buffer | undefined => bytes && Buffer.from(bytes);
  return { ...entry, raw: Buffer.from(entry.raw), id: copy(entry.id), zone: copy(entry.zone) };
}

export function readTuple(tuple: Attributes): Tuple {
  const ip = tuple.nest(TUPLE.ip);
  const protocol = tuple.nest(TUPLE.protocol);
  const number = protocol?.u8(PROTO.number) ?? 0;
  // Of GRE, keys stand where others have ports.
  const hasPorts = WITH_PORTS.has(number);
  const at = (four: number, six: number): Address | undefined => {
    const bytes = ip?.data(four) ?? ip?.data(six);
    return bytes === undefined ? undefined : addressFromBytes(bytes);
  };
  return {
    protocol: number,
    source: at(IP.source4, IP.source6),
    destination: at(IP.destination4, IP.destination6),
    port: hasPorts ? protocol?.u16be(PROTO.destinationPort) : undefined,
    sourcePort: hasPorts ? protocol?.u16be(PROTO.sourcePort) : undefined,
    icmp: readIcmp(protocol),
  };
}

function readIcmp(protocol: Attributes | undefined): Tuple['icmp'] {
  const type = protocol?.u8(PROTO.type4) ?? protocol?.u8(PROTO.type6);
  const code = protocol?.u8(PROTO.code4) ?? protocol?.u8(PROTO.code6);
  return type === undefined || code === undefined ? undefined : { type, code };
}
