/**
 * The part of the policy table that never changes, whatever the policies: maps, base chains and the rules that ask the
 * maps. A packet that begins a connection runs, for the direction of each end that is a local pod,
 *
 *     egress4 ─ selected? ─▶ egress4-selected ─ a pair? ─▶ egress4-pair ─▶ port, ports, protocol, rest
 *                 no: return                    no: ─────▶ port, ports, protocol, rest (alone)
 *
 * where `accept` means return (the other direction is asked next), and `deny` goes on to the end of the rule that asked:
 * to the denied packets of that direction (./denied.ts), as does finding nothing. So entries lead nowhere, and how denied
 * packets end can change without them.
 */
import {
  POLICY_MAPS,
  type PolicyField,
  type PolicyMapName,
  type PolicyMapType,
  POLICY_MAP_NAMES,
} from '#model/policy-program.ts';
import { CONNECTION_MARK } from '#model/numbers.ts';
import type { Direction } from '#model/policy.ts';
import { type MessageWriter, NLM_F_APPEND, NLM_F_CREATE } from '../../netlink/message.ts';
import { beginNft, NFT_MSG } from '../nfnetlink.ts';
import { denied } from './denied.ts';
import {
  compare,
  connectionMark,
  connectionState,
  constant,
  counter,
  type Expression,
  lookup,
  mask,
  meta,
  payload,
  type Verdict,
  verdict,
} from './expressions.ts';
import { PLACES } from './places.ts';

export type NftRule = { readonly comment: string; readonly expressions: readonly Expression[] };
export type NftChain = {
  readonly name: string;
  readonly hook?: number;
  /** Of the hook; absent: that of the table. */
  readonly priority?: number;
  readonly rules: readonly NftRule[];
};

/** enum nf_inet_hooks */
export const HOOK = { prerouting: 0, input: 1, forward: 2, output: 3, postrouting: 4 } as const;
const NF_ACCEPT = 1;
const ESTABLISHED_OR_RELATED = 0x6;
const SET_FLAG = { interval: 0x4, map: 0x8, concat: 0x80, counted: 0x100 } as const;
const NFT_DATA_VERDICT = 0xffff_ff00;
/** sizeof(struct nft_verdict) */
const VERDICT_BYTES = 16;
const CATCH_ALL = 2;
/** enum nft_table_flags */
const TABLE_OWNER = 2;
const TABLE_PERSIST = 4;

/** Bits of a field, and nft's own number of its type (include/datatype.h there), which only serves listings. */
const FIELDS: Readonly<Record<PolicyField, { readonly bytes: number; readonly type: number }>> = {
  zero: { bytes: 4, type: 19 },
  ipv4: { bytes: 4, type: 7 },
  ipv6: { bytes: 16, type: 8 },
  number: { bytes: 4, type: 19 },
  protocol: { bytes: 1, type: 12 },
  port: { bytes: 2, type: 13 },
  interface: { bytes: 16, type: 41 },
};

export const rule = (comment: string, ...expressions: Expression[]): NftRule => ({ comment, expressions });
export const goto = (chain: string): Verdict => ({ to: 'goto', chain });
export const jump = (chain: string): Verdict => ({ to: 'jump', chain });

/**
 * Four registers of zeros, of which the first stays zero and leads every key that holds what a map answered. It is for
 * nft (1.0.6): that takes such an answer for 0 bits wide, and aborts while it lists a rule whose key begins with one.
 */
export const KEY = constant(0, new Uint8Array(16));

/** Asks for the verdict of the program whose number `program` puts into register 1. */
export function askProgram(way: Direction, program: readonly Expression[]): NftRule[] {
  const protocol = meta('l4proto', 2);
  const port = payload('transport', PLACES.destinationPort, 3);
  const deny = verdict(denied(way));
  return [
    rule('port', ...program, protocol, port, lookup('port', 0, 'verdict'), deny),
    rule('ports', ...program, protocol, port, lookup('ports', 0, 'verdict'), deny),
    rule('protocol', ...program, protocol, lookup('protocol', 0, 'verdict'), deny),
    rule('rest', ...program, lookup('rest', 0, 'verdict'), deny),
    rule('nothing', counter(), deny),
  ];
}

/** The chains of one direction and family. Addresses are looked up from register 4 on. */
function direction(way: Direction, family: 4 | 6): NftChain[] {
  const name = `${way}${family}`;
  const { source, destination } = PLACES[family];
  const [own, peer] = way === 'egress' ? [source, destination] : [destination, source];
  const subject = [KEY, payload('network', own, 4), lookup(name, 4, 1)];
  const pair = [
    ...subject,
    payload('network', peer, 4),
    lookup(`peer${family}`, 4, 2),
    lookup(`net${family}`, 4, 3),
    lookup('pair', 0, 1),
  ];
  return [
    { name, rules: [rule('selected', ...subject, verdict(goto(`${name}-selected`)))] },
    {
      name: `${name}-selected`,
      rules: [
        rule('pair', ...pair, verdict(goto(`${name}-pair`))),
        ...askProgram(way, [...subject, lookup('alone', 0, 1)]),
      ],
    },
    { name: `${name}-pair`, rules: askProgram(way, pair) },
  ];
}

export const ofFamily = (family: 4 | 6): Expression[] => [
  meta('nfproto', 0),
  compare(0, 'equal', Uint8Array.of(family === 4 ? 2 : 10)),
];

/** NDP (RFC 4861: router solicitation to redirect) is no flow; between pod and node it is delivered locally. */
const neighbourDiscovery = (first: number): NftRule =>
  rule(
    `icmpv6 ${first}`,
    ...ofFamily(6),
    meta('l4proto', 0),
    compare(0, 'equal', Uint8Array.of(58)),
    payload('transport', [0, 1], 0),
    compare(0, 'equal', Uint8Array.of(first)),
    verdict('accept'),
  );

/** What a change of policies has ended (../../conntrack-cut.ts). */
const cut = rule(
  'cut',
  connectionMark(0),
  mask(0, CONNECTION_MARK.cut),
  compare(0, 'unequal', new Uint8Array(4)),
  counter(),
  verdict('drop'),
);

export const established = rule(
  'established',
  connectionState(0),
  mask(0, ESTABLISHED_OR_RELATED),
  compare(0, 'unequal', new Uint8Array(4)),
  verdict('accept'),
);

/** Every chain behind those that it leads to but denied packets', base chains last. */
export const FIXED_CHAINS: readonly NftChain[] = [
  ...(['egress', 'ingress'] as const).flatMap((way) =>
    ([4, 6] as const).flatMap((family) => direction(way, family).toReversed()),
  ),
  {
    name: 'forward',
    hook: HOOK.forward,
    rules: [
      cut,
      established,
      ...([4, 6] as const).flatMap((family) => [
        rule(`egress${family}`, ...ofFamily(family), verdict(jump(`egress${family}`))),
        rule(`ingress${family}`, ...ofFamily(family), verdict(jump(`ingress${family}`))),
      ]),
    ],
  },
  {
    name: 'input',
    hook: HOOK.input,
    rules: [
      cut,
      established,
      ...[133, 134, 135, 136, 137].map(neighbourDiscovery),
      rule('egress4', ...ofFamily(4), verdict(jump('egress4'))),
      rule('egress6', ...ofFamily(6), verdict(jump('egress6'))),
    ],
  },
];

/** Of base chains. Before the filters of others (0): an accept here is not final for them, a drop is for all. */
export type Table = { readonly name: string; readonly priority: number };

/**
 * Makes the table anew, empty, whatever was there: within a transaction, no packet sees it missing. `owned`: nobody but
 * this socket can change it, `flush ruleset` passes it by, and it stays when the socket is closed (Linux 6.9).
 */
export function writeTable(writer: MessageWriter, table: Table, owned: boolean): void {
  writeTableAnew(writer, table, owned);
  for (const [index, name] of POLICY_MAP_NAMES.entries()) writeMap(writer, table, name, index + 1);
}

/** Likewise, with nothing in it. */
export function writeTableAnew(writer: MessageWriter, table: Table, owned: boolean): void {
  for (const message of [NFT_MSG.newTable, NFT_MSG.delTable, NFT_MSG.newTable]) {
    beginNft(writer, message, NLM_F_CREATE, 'inet');
    writer.str(1, table.name);
    if (owned && message === NFT_MSG.newTable) writer.u32be(2, TABLE_OWNER | TABLE_PERSIST);
    writer.end();
  }
}

const padded = (bytes: number): number => (bytes + 3) & ~3;

/** Of a concatenation every field takes whole registers; a single field is as it is. */
export function fieldSizes(fields: readonly PolicyField[]): number[] {
  return fields.map((field) => (fields.length === 1 ? FIELDS[field].bytes : padded(FIELDS[field].bytes)));
}

const total = (fields: readonly PolicyField[]): number =>
  fieldSizes(fields).reduce((sum, size) => sum + size, 0);
/** Six bits for each type. */
const typeOf = (fields: readonly PolicyField[]): number =>
  fields.reduce((type, field) => (type << 6) | FIELDS[field].type, 0);

// eslint-disable-next-line max-params
function writeMap(writer: MessageWriter, table: Table, name: PolicyMapName, id: number): void {
  const type: PolicyMapType = POLICY_MAPS[name];
  const { key, value, counted, zero } = type;
  const flags = flagsOf(type);
  beginNft(writer, NFT_MSG.newSet, NLM_F_CREATE, 'inet');
  writer.str(1, table.name);
  writer.str(2, name);
  writer.u32be(3, flags);
  writer.u32be(4, typeOf(key));
  writer.u32be(5, total(key));
  writer.u32be(6, value === 'verdict' ? NFT_DATA_VERDICT : typeOf(value));
  writer.u32be(7, value === 'verdict' ? VERDICT_BYTES : total(value));
  if ((flags & SET_FLAG.concat) !== 0) writer.nest(9, () => writer.nest(2, () => writeFields(writer, key)));
  writer.u32be(10, id);
  if (counted === true) writer.nest(18, () => counter()(writer));
  writer.end();
  if (zero === true && value !== 'verdict') writeZero(writer, table, name, total(value));
}

function flagsOf({ key, ranges, counted }: PolicyMapType): number {
  const isConcat = ranges === true && key.length > 1;
  return (
    SET_FLAG.map |
    (ranges === true ? SET_FLAG.interval : 0) |
    (isConcat ? SET_FLAG.concat : 0) |
    (counted === true ? SET_FLAG.counted : 0)
  );
}

function writeFields(writer: MessageWriter, key: readonly PolicyField[]): void {
  for (const field of key) writer.nest(1, () => writer.u32be(1, FIELDS[field].bytes));
}

// eslint-disable-next-line max-params
function writeZero(writer: MessageWriter, table: Table, name: PolicyMapName, bytes: number): void {
  beginNft(writer, NFT_MSG.newSetElem, NLM_F_CREATE, 'inet');
  writer.str(1, table.name);
  writer.str(2, name);
  writer.nest(3, () => {
    writer.nest(1, () => {
      writer.nest(2, () => writer.data(1, new Uint8Array(bytes)));
      writer.u32be(3, CATCH_ALL);
    });
  });
  writer.end();
}

export function writeChain(writer: MessageWriter, table: Table, chain: NftChain): void {
  const { name, hook, priority = table.priority, rules } = chain;
  beginNft(writer, NFT_MSG.newChain, NLM_F_CREATE, 'inet');
  writer.str(1, table.name);
  writer.str(3, name);
  if (hook !== undefined) {
    writer.nest(4, () => {
      writer.u32be(1, hook);
      writer.u32be(2, priority);
    });
    writer.u32be(5, NF_ACCEPT);
    writer.str(7, 'filter');
  }
  writer.end();
  writeRules(writer, table, name, rules);
}

/** Behind the rules that the chain has. A comment is how a rule is known again: somebody's own has none, or another. */
// eslint-disable-next-line max-params
export function writeRules(
  writer: MessageWriter,
  table: Table,
  chain: string,
  rules: readonly NftRule[],
): void {
  for (const { comment, expressions } of rules) {
    beginNft(writer, NFT_MSG.newRule, NLM_F_CREATE | NLM_F_APPEND, 'inet');
    writer.str(1, table.name);
    writer.str(2, chain);
    writer.nest(4, () => {
      for (const each of expressions) each(writer);
    });
    // nftnl's user data: type 0 (comment), length, text with its NUL.
    const text = Buffer.from(`${comment}\0`);
    writer.data(7, Buffer.concat([Buffer.from([0, text.length]), text]));
    writer.end();
  }
}

/** Takes the rules of a chain away, and with `chain` itself as well. */
export function writeClearance(writer: MessageWriter, table: Table, name: string, and?: 'chain'): void {
  beginNft(writer, NFT_MSG.delRule, 0, 'inet');
  writer.str(1, table.name);
  writer.str(2, name);
  writer.end();
  if (and === undefined) return;
  beginNft(writer, NFT_MSG.delChain, 0, 'inet');
  writer.str(1, table.name);
  writer.str(3, name);
  writer.end();
}
