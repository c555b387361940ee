/**
 * nfnetlink frames of nf_tables (include/uapi/linux/netfilter/nfnetlink.h and nf_tables.h): a transaction is the
 * messages between a batch begin and a batch end, and takes effect as a whole or not at all.
 */
import type { Message, MessageWriter } from '../netlink/message.ts';
import { NLM_F_ACK } from '../netlink/message.ts';

/** Message types within the subsystem; commands and their events share them. */
export const NFT_MSG = {
  newTable: 0,
  getTable: 1,
  delTable: 2,
  newChain: 3,
  delChain: 5,
  newRule: 6,
  getRule: 7,
  delRule: 8,
  newSet: 9,
  newSetElem: 12,
  getSetElem: 13,
  delSetElem: 14,
  newGen: 15,
} as const;

const NFNL_SUBSYS_NFTABLES = 10;
const NFNL_MSG_BATCH_BEGIN = 0x10;
const NFNL_MSG_BATCH_END = 0x11;

/** nf_tables' own families (NFPROTO_*). */
export const NFPROTO = { ip: 2, inet: 1, ip6: 10, bridge: 7 } as const;
export type NftFamily = keyof typeof NFPROTO;

const FAMILY_NAMES = new Map<number, NftFamily>(
  Object.entries(NFPROTO).map(([name, number]) => [number, name as NftFamily]),
);

/** The family of a message's table; undefined for those that we have nothing to do with (arp, netdev). */
export function familyOf(message: Message): NftFamily | undefined {
  return FAMILY_NAMES.get(message.bytes.readUInt8(message.at));
}

/** The message's type within nf_tables; undefined when another subsystem sent it. */
export function nftType(message: Message): number | undefined {
  return message.type >> 8 === NFNL_SUBSYS_NFTABLES ? message.type & 0xff : undefined;
}

/** Bytes of `struct nfgenmsg`, which stands before the attributes. */
export const NFGENMSG_BYTES = 4;

/** Begins one message; attributes follow, then `writer.end()`. Answers its number. */
export function beginNft(writer: MessageWriter, type: number, flags: number, family: NftFamily): number {
  const number = writer.begin((NFNL_SUBSYS_NFTABLES << 8) | type, flags);
  writer.put8(NFPROTO[family]);
  writer.put8(0);
  writer.put16be(0);
  return number;
}

/** Writes what `body` writes as one transaction. */
export function transaction(writer: MessageWriter, body: () => void): void {
  frame(writer, NFNL_MSG_BATCH_BEGIN, 0);
  body();
  frame(writer, NFNL_MSG_BATCH_END, NLM_F_ACK);
}

/** Writes what `body` writes so that the kernel checks it, says what it refuses, and takes all of it back. */
export function trial(writer: MessageWriter, body: () => void): void {
  frame(writer, NFNL_MSG_BATCH_BEGIN, 0);
  body();
}

function frame(writer: MessageWriter, type: number, flags: number): void {
  writer.begin(type, flags);
  writer.put8(0);
  writer.put8(0);
  writer.put16be(NFNL_SUBSYS_NFTABLES);
  writer.end();
}
