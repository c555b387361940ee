/**
 * DNS answers on their way to pods, in a table of its own that drops nothing: those for pods that are subject to rules about
 * names, from servers that are believed, are shown to who learns from them. They are held until that one lets them go
 * (`hold`, NFQUEUE), or copied as they pass (`copy`, NFLOG) where the kernel cannot hold them. With nobody there they pass.
 *
 *     postrouting, after DNAT is undone: whoever the pod has asked is the source
 *       port 53? ─ reply of a connection? ─ to one of `pods`? ─ from one of `servers`? ─▶ queue | log
 */
import { type Address, addressBytes, addressFamily, FAMILIES, type Family } from '#net/address.ts';
import { ANSWERS_TABLE, ANSWERS_GROUP } from '#model/policy-program.ts';
import { PROTOCOL } from '#model/policy.ts';
import { type MessageWriter, NLM_F_CREATE } from '../../netlink/message.ts';
import { beginNft, NFT_MSG } from '../nfnetlink.ts';
import {
  compare,
  connectionDirection,
  counter,
  type Expression,
  logWhole,
  member,
  meta,
  payload,
  queue,
  verdict,
} from './expressions.ts';
import { PLACES } from './places.ts';
import { HOOK, type NftRule, ofFamily, rule, type Table, writeChain, writeTableAnew } from './structure.ts';

export type AnswerWay = 'hold' | 'copy';

export type AnswerWatch = {
  readonly way: AnswerWay;
  readonly pods: Iterable<Address>;
  readonly servers: Iterable<Address>;
};

/** Behind where DNAT is undone for replies (NF_IP_PRI_NAT_SRC). */
export const ANSWERS: Table = { name: ANSWERS_TABLE, priority: 150 };

const REPLY = 1;
const DNS_PORT = Uint8Array.of(0, 53);
const SETS = ['pods', 'servers'] as const;
type SetName = `${(typeof SETS)[number]}${Family}`;
/** Bytes and nft's number of the type, for listings. */
const KEYS: Readonly<Record<Family, readonly [bytes: number, type: number]>> = { 4: [4, 7], 6: [16, 8] };
/** Addresses of one message: far below its 64 KiB. */
const PIECE = 1000;

/** The whole table anew. */
export function writeAnswers(writer: MessageWriter, watch: AnswerWatch, owned: boolean): void {
  writeTableAnew(writer, ANSWERS, owned);
  for (const [index, name] of SETS.entries())
    for (const family of FAMILIES) {
      const addresses = [...watch[name]].filter((each) => addressFamily(each) === family);
      writeSet(writer, `${name}${family}`, index * 2 + (family === 4 ? 1 : 2));
      writeAddresses(writer, `${name}${family}`, addresses);
    }
  writeChain(writer, ANSWERS, { name: 'answers', hook: HOOK.postrouting, rules: answerRules(watch.way) });
}

/** The first rule lets go of nearly all there is. */
export function answerRules(way: AnswerWay): NftRule[] {
  const tell = way === 'hold' ? [counter(), queue(ANSWERS_GROUP)] : [counter(), logWhole(ANSWERS_GROUP)];
  return [
    rule(
      'others',
      payload('transport', PLACES.sourcePort, 0),
      compare(0, 'unequal', DNS_PORT),
      verdict('accept'),
    ),
    ...FAMILIES.flatMap((family) =>
      [PROTOCOL.udp, PROTOCOL.tcp].map((protocol) =>
        rule(`${way} ${protocol} IPv${family}`, ...tests(family, protocol), ...tell),
      ),
    ),
  ];
}

function tests(family: Family, protocol: number): Expression[] {
  return [
    ...ofFamily(family),
    meta('l4proto', 0),
    compare(0, 'equal', Uint8Array.of(protocol)),
    payload('transport', PLACES.sourcePort, 0),
    compare(0, 'equal', DNS_PORT),
    connectionDirection(0),
    compare(0, 'equal', Uint8Array.of(REPLY)),
    payload('network', PLACES[family].destination, 4),
    member(`pods${family}`, 4),
    payload('network', PLACES[family].source, 4),
    member(`servers${family}`, 4),
  ];
}

function writeSet(writer: MessageWriter, name: SetName, id: number): void {
  const [bytes, type] = KEYS[name.endsWith('4') ? 4 : 6];
  beginNft(writer, NFT_MSG.newSet, NLM_F_CREATE, 'inet');
  writer.str(1, ANSWERS_TABLE);
  writer.str(2, name);
  writer.u32be(3, 0);
  writer.u32be(4, type);
  writer.u32be(5, bytes);
  writer.u32be(10, id);
  writer.end();
}

function writeAddresses(writer: MessageWriter, set: SetName, addresses: readonly Address[]): void {
  for (let from = 0; from < addresses.length; from += PIECE) {
    beginNft(writer, NFT_MSG.newSetElem, NLM_F_CREATE, 'inet');
    writer.str(1, ANSWERS_TABLE);
    writer.str(2, set);
    writer.nest(3, () => {
      for (const address of addresses.slice(from, from + PIECE))
        writer.nest(1, () => writer.nest(1, () => writer.data(1, addressBytes(address))));
    });
    writer.end();
  }
}
