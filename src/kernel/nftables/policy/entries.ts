/** Entries of the policy maps between their texts (#model/policy-program.ts) and nf_tables' set elements. */
import {
  POLICY_MAPS,
  type PolicyField,
  type PolicyMapName,
  type PolicyMapType,
} from '#model/policy-program.ts';
import {
  type Address,
  address,
  addressBytes,
  addressFrom,
  addressFromBytes,
  addressValue,
  type Family,
} from '#net/address.ts';
import {
  Attributes,
  eachAttribute,
  type Message,
  type MessageWriter,
  NLM_F_CREATE,
} from '../../netlink/message.ts';
import { beginNft, NFGENMSG_BYTES, NFT_MSG } from '../nfnetlink.ts';
import { CODE, writeVerdict } from './expressions.ts';
import { fieldSizes } from './structure.ts';

/** NFTA_SET_ELEM_LIST_*, NFTA_SET_ELEM_*, NFTA_DATA_*, NFTA_VERDICT_*, NFTA_COUNTER_*. */
const LIST = { table: 1, map: 2, elements: 3 } as const;
const ELEMENT = { key: 1, data: 2, flags: 3, expression: 7, keyEnd: 10, expressions: 11 } as const;
const DATA = { value: 1, verdict: 2 } as const;
const VERDICT = { code: 1, chain: 2 } as const;
const LIST_ELEM = 1;
const INTERVAL_END = 1;
const CATCH_ALL = 2;
/** The last is 0. */
const INTERFACE_BYTES = 15;
/** Attributes have 16 bits for their length; messages of this size keep far from it. */
const MESSAGE_BYTES = 24_000;

export type Entry = readonly [key: string, value: string];
/** How often an entry decided. */
export type Count = { readonly packets: bigint; readonly bytes: bigint };

const mapOf = (key: string): PolicyMapName => key.slice(0, key.indexOf(' ')) as PolicyMapName;

/** What to do with entries of which table. */
type Order = { readonly table: string; readonly command: 'add' | 'delete' };

/** Writes commands for all entries, those of one map together, in as few messages as good. */
export function writeEntries(writer: MessageWriter, order: Order, entries: readonly Entry[]): void {
  const byMap = Map.groupBy(entries, ([key]) => mapOf(key));
  for (const [map, list] of byMap) {
    for (let next = 0; next < list.length;) next = writeMessage(writer, order, map, list, next);
  }
}

// eslint-disable-next-line max-params
function writeMessage(
  writer: MessageWriter,
  { table, command }: Order,
  map: PolicyMapName,
  list: readonly Entry[],
  first: number,
): number {
  const type: PolicyMapType = POLICY_MAPS[map];
  const adds = command === 'add';
  beginNft(writer, adds ? NFT_MSG.newSetElem : NFT_MSG.delSetElem, adds ? NLM_F_CREATE : 0, 'inet');
  writer.str(LIST.table, table);
  writer.str(LIST.map, map);
  const end = writer.length + MESSAGE_BYTES;
  let next = first;
  writer.nest(LIST.elements, () => {
    for (; next < list.length && writer.length < end; next += 1) {
      const [key, value] = list[next] ?? ['', ''];
      writeElements(writer, type, key.slice(map.length + 1), adds ? value : undefined);
    }
  });
  writer.end();
  return next;
}

function writeElements(
  writer: MessageWriter,
  type: PolicyMapType,
  key: string,
  value: string | undefined,
): void {
  if (type.any === true && key === '*') return writeElement(writer, type, { flags: CATCH_ALL }, value);
  const fields = key.split(' ');
  if (type.ranges !== true) return writeElement(writer, type, { key: encode(type.key, fields) }, value);
  const [from = '', to = from] = (fields.at(-1) ?? '').split('-');
  const first = encode(type.key, [...fields.slice(0, -1), from]);
  if (type.key.length > 1) {
    const last = encode(type.key, [...fields.slice(0, -1), to]);
    return writeElement(writer, type, { key: first, keyEnd: last }, value);
  }
  writeElement(writer, type, { key: first }, value);
  const after = following(to as Address);
  // A range of addresses is two elements, the second behind its end; none where the address space ends.
  if (after !== undefined)
    writeElement(writer, type, { key: addressBytes(after), flags: INTERVAL_END }, undefined);
}

function following(last: Address): Address | undefined {
  const family: Family = last.includes(':') ? 6 : 4;
  const value = addressValue(last) + 1n;
  return value >> (family === 4 ? 32n : 128n) === 0n ? addressFrom(family, value) : undefined;
}

type Place = { readonly key?: Uint8Array; readonly keyEnd?: Uint8Array; readonly flags?: number };

function writeElement(
  writer: MessageWriter,
  { value: types }: PolicyMapType,
  { key, keyEnd, flags }: Place,
  value: string | undefined,
): void {
  writer.nest(LIST_ELEM, () => {
    if (flags !== undefined) writer.u32be(ELEMENT.flags, flags);
    if (key !== undefined) writer.nest(ELEMENT.key, () => writer.data(DATA.value, key));
    if (keyEnd !== undefined) writer.nest(ELEMENT.keyEnd, () => writer.data(DATA.value, keyEnd));
    if (value === undefined) return;
    writer.nest(ELEMENT.data, () => {
      if (types === 'verdict') writeVerdict(writer, verdictOf(value));
      else writer.data(DATA.value, encode(types, value.split(' ')));
    });
  });
}

/** `deny` goes on in the rule that asked, which leads to the denied packets of its direction (./structure.ts). */
function verdictOf(value: string): Parameters<typeof writeVerdict>[1] {
  if (value === 'allow') return 'return';
  return value === 'deny' ? 'continue' : { to: 'goto', chain: value };
}

function encode(types: readonly PolicyField[], texts: readonly string[]): Uint8Array {
  const sizes = fieldSizes(types);
  const bytes = Buffer.alloc(sizes.reduce((sum, size) => sum + size, 0));
  let at = 0;
  let next = 0;
  for (const [index, type] of types.entries()) {
    if (type !== 'zero') encodeField(bytes, at, type, texts[next++] ?? '');
    at += sizes[index] ?? 0;
  }
  return bytes;
}

// eslint-disable-next-line max-params
function encodeField(bytes: Buffer, at: number, type: PolicyField, text: string): void {
  if (type === 'number') bytes.writeUInt32LE(Number(text), at);
  else if (type === 'protocol') bytes.writeUInt8(Number(text), at);
  else if (type === 'port') bytes.writeUInt16BE(Number(text), at);
  else if (type === 'interface') bytes.write(text, at, INTERFACE_BYTES);
  else bytes.set(addressBytes(address(text)), at);
}

function decode(types: readonly PolicyField[], bytes: Buffer): string[] {
  const sizes = fieldSizes(types);
  let at = 0;
  return types.flatMap((type, index) => {
    const from = at;
    at += sizes[index] ?? 0;
    if (type === 'zero') return [];
    if (type === 'number') return String(bytes.readUInt32LE(from));
    if (type === 'protocol') return String(bytes.readUInt8(from));
    if (type === 'port') return String(bytes.readUInt16BE(from));
    if (type === 'interface') return bytes.toString('utf8', from, bytes.indexOf(0, from));
    return addressFromBytes(bytes.subarray(from, at));
  });
}

/** What one message of a dump holds, in its order. */
export type Seen = {
  readonly key: string;
  readonly value?: string;
  /** Of the ends of address ranges, which come as elements of their own. */
  readonly isEnd?: boolean;
  readonly count?: Count;
};

export function readEntries(map: PolicyMapName, message: Message): Seen[] {
  const list = new Attributes(message.bytes, message.at + NFGENMSG_BYTES, message.end).data(LIST.elements);
  const seen: Seen[] = [];
  if (list === undefined) return seen;
  eachAttribute(list, 0, list.length, (_, at, end) => {
    const found = readElement(POLICY_MAPS[map], new Attributes(list, at, end));
    if (found !== undefined) seen.push(found);
  });
  return seen;
}

function readElement(type: PolicyMapType, element: Attributes): Seen | undefined {
  const key = element.nest(ELEMENT.key)?.data(DATA.value);
  // The catch-all element: where it stands for 0, programs do not know of it.
  if (key === undefined) return type.any === true ? { key: '*', ...readRest(type, element) } : undefined;
  const fields = decode(type.key, key);
  const keyEnd = element.nest(ELEMENT.keyEnd)?.data(DATA.value);
  const last = keyEnd === undefined ? undefined : decode(type.key, keyEnd).at(-1);
  const text = last === undefined ? fields.join(' ') : `${fields.join(' ')}-${last}`;
  if (((element.u32be(ELEMENT.flags) ?? 0) & INTERVAL_END) !== 0) return { key: text, isEnd: true };
  return { key: text, ...readRest(type, element) };
}

function readRest(type: PolicyMapType, element: Attributes): Pick<Seen, 'value' | 'count'> {
  const count = readCount(element);
  return { value: readValue(type, element.nest(ELEMENT.data)), ...(count === undefined ? {} : { count }) };
}

function readValue({ value: types }: PolicyMapType, data: Attributes | undefined): string {
  if (types === 'verdict') return readVerdict(data?.nest(DATA.verdict));
  const bytes = data?.data(DATA.value);
  return bytes === undefined ? '' : decode(types, bytes).join(' ');
}

function readVerdict(verdict: Attributes | undefined): string {
  const code = (verdict?.u32be(VERDICT.code) ?? 0) | 0;
  if (code === CODE.return) return 'allow';
  return code === CODE.continue ? 'deny' : (verdict?.str(VERDICT.chain) ?? `verdict ${code}`);
}

/** One expression stands by itself, several in a list; ours is the only one. */
function readCount(element: Attributes): Count | undefined {
  const expression = element.nest(ELEMENT.expression) ?? element.nest(ELEMENT.expressions)?.nest(LIST_ELEM);
  const counter = expression?.nest(2);
  const bytes = counter?.u64be(1);
  const packets = counter?.u64be(2);
  return bytes === undefined || packets === undefined ? undefined : { packets, bytes };
}

/** Elements of one map as entries: of address ranges, starts and ends in any order become `from-to`. */
export function joinEntries(map: PolicyMapName, seen: readonly Seen[]): Seen[] {
  const { key, ranges }: PolicyMapType = POLICY_MAPS[map];
  if (ranges !== true || key.length > 1) return seen.map((each) => ({ ...each, key: `${map} ${each.key}` }));
  const sorted = seen
    .map((each) => ({ ...each, at: addressValue(each.key as Address) }))
    .sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : a.isEnd === true ? -1 : 1));
  const family: Family = map === 'net4' ? 4 : 6;
  const top = (1n << (family === 4 ? 32n : 128n)) - 1n;
  return sorted.flatMap((each, index): Seen[] => {
    if (each.isEnd === true || each.value === undefined) return [];
    const next = sorted[index + 1];
    const last = addressFrom(family, next === undefined ? top : next.at - 1n);
    return [{ key: `${map} ${each.key}-${last}`, value: each.value }];
  });
}
