/**
 * Packets that rules hold until they are let go (NFQUEUE; include/uapi/linux/netfilter/nfnetlink_queue.h). One reader has a
 * queue. Every packet is let go as it is as soon as it was read, whatever became of that; more than fit into the queue pass
 * unread, and so do all when the reader has gone.
 */
import { Attributes, MessageWriter, readMessages } from './netlink/message.ts';
import type { NetlinkSocket } from './netlink/socket.ts';
import { send } from './sys.ts';

const NFNL_SUBSYS_QUEUE = 3;
const MESSAGE = { packet: 0, verdict: 1, config: 2 } as const;
const CONFIG = { command: 1, parameters: 2, maxLength: 3, mask: 4, flags: 5 } as const;
const PACKET = { head: 1, verdict: 2, payload: 10 } as const;
const BIND = 1;
const COPY_PACKET = 2;
/** NFQA_CFG_F_FAIL_OPEN: a full queue holds nothing back. NFQA_CFG_F_GSO: large packets are not taken apart for us. */
const FLAGS = 0x1 | 0x4;
const MAX_WAITING = 1024;
const NF_ACCEPT = 1;
const NFGENMSG_BYTES = 4;

/** Throws NetlinkError: EINVAL where the kernel lacks nfnetlink_queue, EPERM or EBUSY when another has the queue. */
export function bindQueue(socket: NetlinkSocket, queue: number, copyBytes: number): void {
  configure(socket, queue, (writer) => writer.data(CONFIG.command, Uint8Array.of(BIND, 0, 0, 0)));
  configure(socket, queue, (writer) => {
    writer.data(CONFIG.parameters, Uint8Array.of(0, 0, copyBytes >> 8, copyBytes & 255, COPY_PACKET));
    writer.u32be(CONFIG.maxLength, MAX_WAITING);
    writer.u32be(CONFIG.mask, FLAGS);
    writer.u32be(CONFIG.flags, FLAGS);
  });
}

/** Reads the packets of a datagram of the queue's socket and lets them go. */
// eslint-disable-next-line max-params
export function passQueued(
  fd: number,
  queue: number,
  datagram: Buffer,
  onPayload: (payload: Buffer) => void,
): void {
  for (const message of readMessages(datagram)) {
    if (message.type !== ((NFNL_SUBSYS_QUEUE << 8) | MESSAGE.packet)) continue;
    const attributes = new Attributes(message.bytes, message.at + NFGENMSG_BYTES, message.end);
    const head = attributes.data(PACKET.head);
    const payload = attributes.data(PACKET.payload);
    try {
      if (payload !== undefined) onPayload(payload);
    } finally {
      if (head !== undefined) letGo(fd, queue, head.readUInt32BE(0));
    }
  }
}

function letGo(fd: number, queue: number, packet: number): void {
  const verdict = Buffer.alloc(8);
  verdict.writeUInt32BE(NF_ACCEPT, 0);
  verdict.writeUInt32BE(packet, 4);
  const writer = new MessageWriter();
  begin(writer, MESSAGE.verdict, queue);
  writer.data(PACKET.verdict, verdict);
  writer.end();
  send(fd, writer.bytes, writer.length, 0);
}

function configure(socket: NetlinkSocket, queue: number, body: (writer: MessageWriter) => void): void {
  const writer = new MessageWriter();
  begin(writer, MESSAGE.config, queue);
  body(writer);
  writer.end();
  socket.request(writer);
}

function begin(writer: MessageWriter, message: number, queue: number): void {
  writer.begin((NFNL_SUBSYS_QUEUE << 8) | message, 0);
  writer.put8(0);
  writer.put8(0);
  writer.put16be(queue);
}
