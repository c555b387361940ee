/**
 * Packets that rules told of (NFLOG; include/uapi/linux/netfilter/nfnetlink_log.h), read as they come. One reader has a
 * group; its socket belongs to the namespace it was opened in. Nothing is kept here and nothing waits: what does not
 * fit into the socket's buffer is lost and counted, and so is what comes faster than anybody could read.
 */
import type { Flow } from '#model/verdict.ts';
import { CTA, readTuple } from './conntrack.ts';
import { watchSocket } from './events.ts';
import { Attributes, type Message, MessageWriter, readMessages } from './netlink/message.ts';
import { LinkNames } from './netlink/names.ts';
import { NetlinkError, NetlinkSocket } from './netlink/socket.ts';
import { readPacket } from './packet.ts';
import type { Scope } from './scope.ts';
import { close, NETLINK_NETFILTER, netlinkSocket, setIntOption } from './sys.ts';

/** enum nf_inet_hooks */
const HOOKS = ['prerouting', 'input', 'forward', 'output', 'postrouting'] as const;

export type LoggedPacket = {
  readonly prefix: string;
  /** First packets after DNAT; `before` where the connection says that they were for somebody else. */
  readonly flow: Flow;
  /** Where it was when it was told of. */
  readonly hook?: (typeof HOOKS)[number];
  /** Links by name, where there are any. */
  readonly input?: string;
  readonly output?: string;
  /** Of the whole packet. */
  readonly bytes: number;
  /** Milliseconds since 1970, where the kernel says. */
  readonly timeMs?: number;
};

export type LogOptions = {
  readonly group: number;
  readonly onPacket: (packet: LoggedPacket) => void;
  /** So many more packets were told of than could be read. */
  readonly onLost: (packets: number) => void;
  /** The socket has failed and nothing more comes: open another. */
  readonly onEnd: () => void;
};

const NFNL_SUBSYS_ULOG = 4;
const NFULNL_MSG_PACKET = 0;
const NFULNL_MSG_CONFIG = 1;
const CONFIG = { command: 1, mode: 2, bufferBytes: 3, timeout: 4, threshold: 5, flags: 6 } as const;
const BIND = 1;
const COPY_PACKET = 2;
const FLAG = { sequence: 1, conntrack: 4 } as const;
const PACKET = {
  head: 1,
  timestamp: 3,
  input: 4,
  output: 5,
  payload: 9,
  prefix: 10,
  sequence: 12,
  conntrack: 18,
} as const;
const NFGENMSG_BYTES = 4;

/** Rules cut packets to as much as is of use; this is for those of others. */
const GATHERED: GroupStyle = { copyBytes: 256, threshold: 64, timeoutCentiseconds: 10 };
const DATAGRAM_BYTES = 32 << 10;
/** More in one second are counted, not read: what is told of must not take the whole processor. */
const READ_PER_SECOND = 2_000;
/** What waits to be read takes no more memory: some four thousand packets. */
const BUFFER_BYTES = 1 << 20;
const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;
const SOL_NETLINK = 270;
/** Otherwise a full buffer would end the socket: sequence numbers tell exactly what is lost. */
const NETLINK_NO_ENOBUFS = 5;

/**
 * In the namespace that `run` goes to. Throws NetlinkError: EINVAL where the kernel lacks nfnetlink_log, EPERM or EBUSY
 * when another has the group.
 */
export function readLog(run: Scope['run'], options: LogOptions): Disposable {
  const fd = run(() => netlinkSocket(NETLINK_NETFILTER));
  try {
    setIntOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES);
    setIntOption(fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, 1);
    const socket = new NetlinkSocket(fd);
    bindGroup(socket, options.group, GATHERED);
    askForMore(socket, options.group);
  } catch (error) {
    close(fd);
    throw error;
  }
  const reader = new Reader(options, new LinkNames(fd));
  return watchSocket(fd, (datagram) => reader.read(datagram), options.onEnd);
}

/** The payloads of a group's packets in a datagram of its socket. */
export function* loggedPayloads(datagram: Buffer): Generator<Buffer> {
  for (const message of readMessages(datagram)) {
    if (message.type !== ((NFNL_SUBSYS_ULOG << 8) | NFULNL_MSG_PACKET)) continue;
    const attributes = new Attributes(message.bytes, message.at + NFGENMSG_BYTES, message.end);
    const payload = attributes.data(PACKET.payload);
    if (payload !== undefined) yield payload;
  }
}

/** Why `readLog` threw this, for the reader. */
export function whyNoLog(error: unknown, group: number): string {
  if (!(error instanceof NetlinkError)) return String(error);
  if (error.code === 'EINVAL') return 'the kernel cannot tell of packets: it lacks nfnetlink_log';
  if (error.code === 'EPERM' || error.code === 'EBUSY') return `another program reads NFLOG group ${group}`;
  return `NFLOG group ${group} cannot be read: ${error.message}`;
}

/** How packets are handed over: so much of each, so many at once, or what there is after this time. */
export type GroupStyle = {
  readonly copyBytes: number;
  readonly threshold: number;
  readonly timeoutCentiseconds: number;
};

/** Throws NetlinkError, as `readLog`. */
export function bindGroup(socket: NetlinkSocket, group: number, style: GroupStyle): void {
  const mode = Buffer.from([0, 0, style.copyBytes >> 8, style.copyBytes & 255, COPY_PACKET, 0]);
  configure(socket, group, (writer) => writer.data(CONFIG.command, Uint8Array.of(BIND)));
  configure(socket, group, (writer) => {
    writer.data(CONFIG.mode, mode);
    writer.u32be(CONFIG.bufferBytes, DATAGRAM_BYTES);
    writer.u32be(CONFIG.timeout, style.timeoutCentiseconds);
    writer.u32be(CONFIG.threshold, style.threshold);
  });
}

/** Each packet's number, and what connection tracking has of it. */
function askForMore(socket: NetlinkSocket, group: number): void {
  configure(socket, group, (writer) => writer.data(CONFIG.flags, Uint8Array.of(0, FLAG.sequence)));
  try {
    const flags = Uint8Array.of(0, FLAG.sequence | FLAG.conntrack);
    configure(socket, group, (writer) => writer.data(CONFIG.flags, flags));
  } catch (error) {
    // Without ctnetlink nobody says what a connection was before DNAT.
    if (!(error instanceof NetlinkError) || error.code !== 'EOPNOTSUPP') throw error;
  }
}

function configure(socket: NetlinkSocket, group: number, body: (writer: MessageWriter) => void): void {
  const writer = new MessageWriter();
  writer.begin((NFNL_SUBSYS_ULOG << 8) | NFULNL_MSG_CONFIG, 0);
  writer.put8(0);
  writer.put8(0);
  writer.put16be(group);
  body(writer);
  writer.end();
  socket.request(writer);
}

class Reader {
  readonly #options: LogOptions;
  readonly #names: LinkNames;
  /** A group's first packet has the number 0. */
  #next = 0;
  #second = 0;
  #readInSecond = 0;

  constructor(options: LogOptions, names: LinkNames) {
    this.#options = options;
    this.#names = names;
  }

  read(datagram: Buffer): void {
    const isPacket = ({ type }: Message): boolean => type === ((NFNL_SUBSYS_ULOG << 8) | NFULNL_MSG_PACKET);
    let lost = 0;
    for (const message of readMessages(datagram)) {
      if (!isPacket(message)) continue;
      const attributes = new Attributes(message.bytes, message.at + NFGENMSG_BYTES, message.end);
      lost += this.#missing(attributes.u32be(PACKET.sequence));
      if (!this.#mayRead()) lost += 1;
      else {
        const packet = readLogged(attributes, (index) => this.#nameOf(index));
        if (packet !== undefined) this.#options.onPacket(packet);
      }
    }
    if (lost > 0) this.#options.onLost(lost);
  }

  /** How many numbers were left out before this one. */
  #missing(sequence: number | undefined): number {
    if (sequence === undefined) return 0;
    const missing = (sequence - this.#next) >>> 0;
    this.#next = (sequence + 1) >>> 0;
    return missing;
  }

  #mayRead(): boolean {
    const second = Math.floor(performance.now() / 1000);
    if (second !== this.#second) {
      // Links come, go and are renamed.
      this.#names.forget();
      this.#second = second;
      this.#readInSecond = 0;
    }
    this.#readInSecond += 1;
    return this.#readInSecond <= READ_PER_SECOND;
  }

  #nameOf(index: number | undefined): string | undefined {
    return index === undefined ? undefined : this.#names.name(index);
  }
}

/** Undefined: not an IP packet. */
function readLogged(
  attributes: Attributes,
  nameOf: (index: number | undefined) => string | undefined,
): LoggedPacket | undefined {
  const payload = attributes.data(PACKET.payload);
  const packet = payload === undefined ? undefined : readPacket(payload);
  if (packet === undefined) return undefined;
  const [input, output] = [attributes.u32be(PACKET.input), attributes.u32be(PACKET.output)].map(nameOf);
  const timeMs = readTime(attributes.data(PACKET.timestamp));
  // struct nfulnl_msg_packet_hdr: the protocol's two bytes, then the hook.
  const hook = HOOKS[attributes.data(PACKET.head)?.[2] ?? -1];
  return {
    prefix: attributes.str(PACKET.prefix) ?? '',
    flow: { ...packet.flow, ...beforeDnat(packet.flow, attributes.nest(PACKET.conntrack)) },
    bytes: packet.bytes,
    ...(hook === undefined ? {} : { hook }),
    ...(input === undefined ? {} : { input }),
    ...(output === undefined ? {} : { output }),
    ...(timeMs === undefined ? {} : { timeMs }),
  };
}

/** Seconds and microseconds. */
function readTime(bytes: Buffer | undefined): number | undefined {
  if (bytes === undefined || bytes.length < 16) return undefined;
  return Number(bytes.readBigUInt64BE(0)) * 1_000 + Number(bytes.readBigUInt64BE(8)) / 1_000;
}

/**
 * Only of packets in their connection's own direction: a reply's addresses are not what was asked for. What is tracked
 * as a port of protocols without ports says nothing.
 */
function beforeDnat(flow: Flow, connection: Attributes | undefined): Pick<Flow, 'before'> {
  const original = connection?.nest(CTA.original);
  if (original === undefined) return {};
  const { source, destination, port } = readTuple(original);
  if (destination === undefined || source !== flow.source) return {};
  const hasPorts = flow.destinationPort !== undefined && port !== undefined;
  if (destination === flow.destination && (!hasPorts || port === flow.destinationPort)) return {};
  return { before: { destination, ...(hasPorts ? { destinationPort: port } : {}) } };
}
