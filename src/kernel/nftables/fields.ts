/**
 * Values of set elements between text and the bytes that nf_tables keeps. A key of several fields is a concatenation:
 * each field is padded with zeros to whole registers of 4 bytes (net/netfilter/nf_tables_api.c, nft_set_desc_concat);
 * a key of one field is not padded.
 */
import { type Address, addressBytes, addressFamily, addressFromBytes, parseAddress } from '#net/address.ts';
import { macBytes, macFromBytes, parseMac } from '#net/mac.ts';
import { cString } from '#lib/bytes.ts';
import type { NftType } from '#model/nft-sets.ts';

type Codec = {
  readonly size: number;
  /** Throws TypeError on text that is no value of the type. */
  encode(text: string): Uint8Array;
  decode(bytes: Uint8Array): string;
};

/** The protocols that have a name in nft's and our texts (RFC 5237 registry); others are their number. */
const PROTOCOLS: Readonly<Record<string, number>> = { icmp: 1, tcp: 6, udp: 17, 'ipv6-icmp': 58, sctp: 132 };
const PROTOCOL_NAMES = new Map(Object.entries(PROTOCOLS).map(([name, number]) => [number, name]));

function addressCodec(family: 4 | 6): Codec {
  return {
    size: family === 4 ? 4 : 16,
    encode: (text) => {
      const parsed: Address | undefined = parseAddress(text);
      if (parsed === undefined || addressFamily(parsed) !== family) throw notA(`IPv${family} address`, text);
      return addressBytes(parsed);
    },
    decode: addressFromBytes,
  };
}

function numberIn(text: string, max: number, what: string): number {
  if (!/^(?:0|[1-9]\d{0,5})$/.test(text) || Number(text) > max) throw notA(what, text);
  return Number(text);
}

function notA(what: string, text: string): TypeError {
  return new TypeError(`not a ${what}: ${JSON.stringify(text)}`);
}

const CODECS: Readonly<Record<NftType, Codec>> = {
  ipv4_addr: addressCodec(4),
  ipv6_addr: addressCodec(6),
  ether_addr: {
    size: 6,
    encode: (text) => {
      const parsed = parseMac(text);
      if (parsed === undefined) throw notA('MAC address', text);
      return macBytes(parsed);
    },
    decode: macFromBytes,
  },
  ifname: {
    size: 16,
    encode: (text) => {
      const name = new TextEncoder().encode(text);
      // The kernel wants a NUL behind the name, so 15 bytes are the most (IFNAMSIZ).
      if (name.length === 0 || name.length > 15 || name.includes(0)) throw notA('link name', text);
      const bytes = new Uint8Array(16);
      bytes.set(name);
      return bytes;
    },
    decode: cString,
  },
  inet_proto: {
    size: 1,
    encode: (text) => Uint8Array.of(PROTOCOLS[text] ?? numberIn(text, 255, 'protocol')),
    decode: ([number = 0]) => PROTOCOL_NAMES.get(number) ?? String(number),
  },
  inet_service: {
    size: 2,
    encode: (text) => {
      const port = numberIn(text, 65_535, 'port');
      return Uint8Array.of(port >> 8, port & 255);
    },
    decode: ([high = 0, low = 0]) => String(high * 256 + low),
  },
};

function widths(types: readonly NftType[]): number[] {
  return types.map((type) => (types.length === 1 ? CODECS[type].size : Math.ceil(CODECS[type].size / 4) * 4));
}

/** Bytes that a value of these types takes in the kernel. */
export function fieldsSize(types: readonly NftType[]): number {
  return widths(types).reduce((sum, width) => sum + width, 0);
}

/** Throws TypeError when the number of texts is not that of the types, or a text is no value of its type. */
export function encodeFields(types: readonly NftType[], texts: readonly string[]): Uint8Array {
  if (texts.length !== types.length) {
    throw new TypeError(`${types.join(' . ')} wants ${types.length} fields, got ${JSON.stringify(texts)}`);
  }
  const bytes = new Uint8Array(fieldsSize(types));
  const width = widths(types);
  let offset = 0;
  for (const [index, type] of types.entries()) {
    bytes.set(CODECS[type].encode(texts[index] ?? ''), offset);
    offset += width[index] ?? 0;
  }
  return bytes;
}

/** Throws RangeError when the size is not that of the types. */
export function decodeFields(types: readonly NftType[], bytes: Uint8Array): string[] {
  const size = fieldsSize(types);
  if (bytes.length !== size)
    throw new RangeError(`${types.join(' . ')} takes ${size} bytes, got ${bytes.length}`);
  const width = widths(types);
  let offset = 0;
  return types.map((type, index) => {
    const at = offset;
    offset += width[index] ?? 0;
    return CODECS[type].decode(bytes.subarray(at, at + CODECS[type].size));
  });
}

/** As nft's grammar writes it, for commands as text: link names are quoted. */
export function nftText(types: readonly NftType[], texts: readonly string[]): string {
  return types.map((type, index) => (type === 'ifname' ? `"${texts[index]}"` : texts[index])).join(' . ');
}
