/**
 * A DNS message (RFC 1035) as far as it tells addresses of the name that was asked for. Whatever the bytes are, nothing
 * is thrown and the work is bounded by their number: pointers only lead back, and a chain of aliases has an end.
 */
import { ByteReader } from '#lib/bytes.ts';
import { type Address, addressFromBytes } from '#net/address.ts';

export type Resolved = { readonly address: Address; readonly ttlSeconds: number };

/** `name`: in lower case, without the dot of the root. The addresses are its own or those of what it is an alias of. */
export type Answer = { readonly name: string; readonly addresses: readonly Resolved[] };

const QR_OPCODE_RCODE = 0xf80f;
/** A response to a standard query, without error. */
const GOOD = 0x8000;
const CLASS_IN = 1;
const TYPE = { a: 1, cname: 5, aaaa: 28 } as const;
const MAX_NAME = 253;
const MAX_LABEL = 63;
/** Labels and pointers of one name. */
const MAX_STEPS = 160;
const MAX_ALIASES = 16;
/** RFC 2181 section 8: beyond it a TTL counts as 0. */
const MAX_TTL = 0x7fff_ffff;

type Alias = { readonly name: string; readonly ttlSeconds: number };
type Records = { readonly aliases: Map<string, Alias>; readonly addresses: Map<string, Resolved[]> };

/** Undefined: no answer that tells of any address. */
export function readAnswer(message: Uint8Array): Answer | undefined {
  try {
    return read(new ByteReader(message));
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

function read(reader: ByteReader): Answer | undefined {
  reader.skip(2);
  const flags = reader.u16be();
  const [questions, answers] = [reader.u16be(), reader.u16be()];
  if ((flags & QR_OPCODE_RCODE) !== GOOD || questions !== 1) return undefined;
  reader.skip(4);
  const name = readName(reader);
  reader.skip(2);
  if (name === undefined || reader.u16be() !== CLASS_IN) return undefined;
  const addresses = follow(name, readRecords(reader, answers));
  return addresses.length === 0 ? undefined : { name, addresses };
}

function readRecords(reader: ByteReader, count: number): Records {
  const records: Records = { aliases: new Map(), addresses: new Map() };
  for (let index = 0; index < count; index += 1) {
    const owner = readName(reader);
    const [type, family, ttl] = [reader.u16be(), reader.u16be(), reader.u32be()];
    const size = reader.u16be();
    const data = new ByteReader(reader.bytes, reader.offset, reader.offset + size);
    reader.skip(size);
    if (owner === undefined || family !== CLASS_IN) continue;
    note(records, owner, { type, ttlSeconds: ttl > MAX_TTL ? 0 : ttl, data });
  }
  return records;
}

type Datum = { readonly type: number; readonly ttlSeconds: number; readonly data: ByteReader };

function note({ aliases, addresses }: Records, owner: string, { type, ttlSeconds, data }: Datum): void {
  const size = data.remaining;
  if (type === TYPE.cname) {
    const name = readName(data);
    if (name !== undefined) aliases.set(owner, { name, ttlSeconds });
  } else if ((type === TYPE.a && size === 4) || (type === TYPE.aaaa && size === 16)) {
    const known = addresses.get(owner) ?? [];
    known.push({ address: addressFromBytes(data.take(size)), ttlSeconds });
    addresses.set(owner, known);
  }
}

/** An address lives no longer than the aliases that lead to it. */
function follow(question: string, { aliases, addresses }: Records): Resolved[] {
  let name = question;
  let limit = MAX_TTL;
  for (let steps = 0; steps <= MAX_ALIASES; steps += 1) {
    const found = addresses.get(name);
    if (found !== undefined)
      return found.map(({ address, ttlSeconds }) => ({ address, ttlSeconds: Math.min(ttlSeconds, limit) }));
    const alias = aliases.get(name);
    if (alias === undefined) break;
    limit = Math.min(limit, alias.ttlSeconds);
    name = alias.name;
  }
  return [];
}

/**
 * Leaves the reader behind the name, which may end in a pointer (RFC 1035 section 4.1.4). Undefined: one that no rule can
 * have, the root or one with other characters. Throws RangeError where a pointer does not lead back, or too far about.
 */
function readName(reader: ByteReader): string | undefined {
  const labels: (string | undefined)[] = [];
  let [cursor, start] = [reader, reader.offset];
  for (let steps = 0; steps < MAX_STEPS; steps += 1) {
    const length = cursor.u8();
    if (length === 0) return joinLabels(labels);
    if (length < 0xc0) {
      labels.push(readLabel(cursor.take(length)));
      continue;
    }
    const target = ((length & 0x3f) << 8) | cursor.u8();
    if (target >= start) throw new RangeError('a pointer that does not lead back');
    [cursor, start] = [new ByteReader(reader.bytes, target), target];
  }
  throw new RangeError('a name without end');
}

function joinLabels(labels: readonly (string | undefined)[]): string | undefined {
  const name = labels.join('.');
  return labels.includes(undefined) || name === '' || name.length > MAX_NAME ? undefined : name;
}

const LABEL = /^[-_a-z0-9]+$/;

function readLabel(bytes: Uint8Array): string | undefined {
  if (bytes.length > MAX_LABEL) throw new RangeError('a label of unknown kind');
  const text = String.fromCharCode(...bytes).toLowerCase();
  return LABEL.test(text) ? text : undefined;
}
