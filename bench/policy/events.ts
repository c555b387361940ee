/** When the kernel told that a change of a namespace's policy table is in force: what is timed ends there. */
import { closeSync } from 'node:fs';
import { watchSocket } from '#kernel/events.ts';
import { inNetns, openNetns } from '#kernel/netns.ts';
import { NETLINK_NETFILTER, netlinkSocket } from '#kernel/sys.ts';
import { readMessages } from '#kernel/netlink/message.ts';
import { NFT_MSG, nftType } from '#kernel/nftables/nfnetlink.ts';
import { type Address, addressBytes } from '#net/address.ts';

/** NFNLGRP_NFTABLES */
const NFT_GROUP = 7;
const LATE_MS = 20_000;

/** Bytes that an event about an element of the map holds. */
export type Expected = { readonly map: string; readonly bytes: Buffer };

export const peerElement = (peer: Address): Expected => ({
  map: 'peer4',
  bytes: Buffer.from(addressBytes(peer)),
});
/** Of an entry `program . tcp . port`: each field on a multiple of four bytes. */
export const portElement = (port: number): Expected => ({
  map: 'port',
  bytes: Buffer.from([6, 0, 0, 0, port >> 8, port & 255, 0, 0]),
});

export type TableEvents = Disposable & {
  /**
   * The time (performance.now) at which the transaction with a new element like this was told to be over: packets meet it
   * since shortly before. Throws when none comes.
   */
  when(expected: Expected): Promise<number>;
};

export function watchTable(netnsPath: string): TableEvents {
  const netns = openNetns(netnsPath);
  const socket = inNetns(netns, () => netlinkSocket(NETLINK_NETFILTER, [NFT_GROUP]));
  closeSync(netns);
  let waiting: { readonly expected: Expected; readonly done: (atMs: number) => void } | undefined;
  let isSeen = false;
  const holds = (message: Buffer, { map, bytes }: Expected): boolean =>
    message.includes(`${map}\0`) && message.includes(bytes);
  const onDatagram = (datagram: Buffer): void => {
    const now = performance.now();
    if (waiting === undefined) return;
    for (const message of readMessages(datagram)) {
      const type = nftType(message);
      if (type === NFT_MSG.newSetElem)
        isSeen ||= holds(datagram.subarray(message.at, message.end), waiting.expected);
      if (type !== NFT_MSG.newGen || !isSeen) continue;
      waiting.done(now);
      waiting = undefined;
      return;
    }
  };
  const watch = watchSocket(socket, onDatagram, () => {
    throw new Error('events of nftables were lost');
  });
  return {
    when: (expected) =>
      new Promise((resolve, reject) => {
        const late = setTimeout(() => {
          reject(new Error(`${expected.map} ${expected.bytes.toString('hex')} never came`));
        }, LATE_MS);
        isSeen = false;
        waiting = {
          expected,
          done: (atMs) => {
            clearTimeout(late);
            resolve(atMs);
          },
        };
      }),
    [Symbol.dispose]: () => watch[Symbol.dispose](),
  };
}
