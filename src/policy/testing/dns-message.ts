/** DNS responses as servers write them (RFC 1035), names compressed where they were written before. */
import { address, addressBytes, addressFamily } from '#net/address.ts';

export type Written =
  | { readonly name: string; readonly ttl: number; readonly address: string }
  | { readonly name: string; readonly ttl: number; readonly alias: string }
  | { readonly name: string; readonly ttl: number; readonly text: string };

export type Message = {
  readonly question: string;
  readonly records: readonly Written[];
  /** Of the header; default: a response without error. */
  readonly flags?: number;
};

export function writeMessage({ question, records, flags = 0x8180 }: Message): Buffer {
  const head = Buffer.alloc(12);
  head.writeUInt16BE(0x1234, 0);
  head.writeUInt16BE(flags, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(records.length, 6);
  const places = new Map<string, number>();
  let message = head;
  const put = (...parts: readonly Uint8Array[]): void => {
    message = Buffer.concat([message, ...parts]);
  };
  const putName = (name: string): void => put(compress(name, message.length, places));
  putName(question);
  put(numbers(1, 1));
  for (const record of records) {
    putName(record.name);
    if ('address' in record) {
      const bytes = addressBytes(address(record.address));
      const type = addressFamily(address(record.address)) === 4 ? 1 : 28;
      put(numbers(type, 1), ttlOf(record.ttl), numbers(bytes.length), bytes);
      continue;
    }
    const isAlias = 'alias' in record;
    put(numbers(isAlias ? 5 : 16, 1), ttlOf(record.ttl));
    const target = isAlias ? compress(record.alias, message.length + 2, places) : Buffer.from(record.text);
    put(numbers(target.length), target);
  }
  return message;
}

const numbers = (...values: readonly number[]): Buffer =>
  Buffer.concat(values.map((value) => Buffer.from([value >> 8, value & 255])));

function ttlOf(seconds: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(seconds);
  return bytes;
}

/** As it stands at `at`, with a pointer for the longest end that is there already. */
function compress(name: string, at: number, places: Map<string, number>): Buffer {
  const parts: Buffer[] = [];
  let [rest, here] = [name, at];
  while (rest !== '') {
    const known = places.get(rest);
    if (known !== undefined) return Buffer.concat([...parts, numbers(0xc000 | known)]);
    if (here < 0x4000) places.set(rest, here);
    const label = rest.split('.', 1)[0] ?? '';
    parts.push(Buffer.from([label.length]), Buffer.from(label));
    here += label.length + 1;
    rest = rest.slice(label.length + 1);
  }
  return Buffer.concat([...parts, Buffer.from([0])]);
}
