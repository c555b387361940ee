/** What the table of answers shows (./nftables/policy/answers.ts), as DNS messages. One reader has the group. */
import { ANSWERS_GROUP } from '#model/policy-program.ts';
import { watchSocket } from './events.ts';
import { NetlinkSocket } from './netlink/socket.ts';
import { bindGroup, type GroupStyle, loggedPayloads } from './nflog.ts';
import type { AnswerWay } from './nftables/policy/answers.ts';
import { bindQueue, passQueued } from './nfqueue.ts';
import { readPacket, readPayload } from './packet.ts';
import type { Scope } from './scope.ts';
import { close, NETLINK_NETFILTER, netlinkSocket, setIntOption } from './sys.ts';
import { PROTOCOL } from '#model/policy.ts';

/** More of an answer than any server sends in one packet. */
const COPY_BYTES = 16 << 10;
const AT_ONCE: GroupStyle = { copyBytes: COPY_BYTES, threshold: 1, timeoutCentiseconds: 1 };
const SOL_NETLINK = 270;
/** What is lost is an answer that nobody learns from: no reason to end. */
const NETLINK_NO_ENOBUFS = 5;

export type AnswerOptions = {
  readonly way: AnswerWay;
  /** A held answer goes on when this returns, or throws. */
  readonly onMessage: (message: Buffer) => void;
  /** The socket has failed and nothing more comes: open another. */
  readonly onEnd: () => void;
};

/** In the namespace that `run` goes to. Throws NetlinkError: EINVAL, EPERM or EBUSY as those who bind have it. */
export function readAnswers(run: Scope['run'], { way, onMessage, onEnd }: AnswerOptions): Disposable {
  const fd = run(() => netlinkSocket(NETLINK_NETFILTER));
  try {
    setIntOption(fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, 1);
    const socket = new NetlinkSocket(fd);
    if (way === 'hold') bindQueue(socket, ANSWERS_GROUP, COPY_BYTES);
    else bindGroup(socket, ANSWERS_GROUP, AT_ONCE);
  } catch (error) {
    close(fd);
    throw error;
  }
  const onPacket = (packet: Buffer): void => {
    const message = messageOf(packet);
    if (message !== undefined) onMessage(message);
  };
  const onDatagram = (datagram: Buffer): void => {
    if (way === 'hold') passQueued(fd, ANSWERS_GROUP, datagram, onPacket);
    else for (const packet of loggedPayloads(datagram)) onPacket(packet);
  };
  return watchSocket(fd, onDatagram, onEnd);
}

/** By TCP, of a segment that is one message with its length in front (RFC 7766 section 8). */
export function messageOf(packet: Buffer): Buffer | undefined {
  const payload = readPayload(packet);
  if (payload === undefined || readPacket(packet)?.flow.protocol !== PROTOCOL.tcp) return payload;
  if (payload.length < 2 || payload.readUInt16BE(0) !== payload.length - 2) return undefined;
  return payload.subarray(2);
}
