/**
 * Rules of nf_tables as the expressions that the kernel runs (include/uapi/linux/netfilter/nf_tables.h). nft's grammar
 * cannot put the answers of two maps side by side and look up both at once; registers can. A register here is one of
 * the sixteen of 4 bytes (NFT_REG32_00 + n): what is read into neighbours is one key. Each rule loads what it uses, as
 * the kernel forgets registers between rules; a lookup that finds nothing ends its rule.
 */
import type { MessageWriter } from '../../netlink/message.ts';

/** Writes one expression into the list of a rule. */
export type Expression = (writer: MessageWriter) => void;

/** `continue`: the next expression of the same rule. */
export type Verdict =
  | 'accept'
  | 'drop'
  | 'return'
  | 'continue'
  | { readonly to: 'goto' | 'jump'; readonly chain: string };

const LIST_ELEM = 1;
const EXPR = { name: 1, data: 2 } as const;
const REG32_00 = 8;
const REG_VERDICT = 0;
const DATA = { value: 1, verdict: 2 } as const;
const VERDICT = { code: 1, chain: 2 } as const;
/** enum nft_verdicts, and NF_DROP and NF_ACCEPT of linux/netfilter.h. */
export const CODE = { drop: 0, accept: 1, continue: -1, jump: -3, goto: -4, return: -5 } as const;
const PAYLOAD_BASE = { network: 1, transport: 2 } as const;
/** enum nft_meta_keys; names of interfaces have 16 bytes. */
const META = { mark: 3, iif: 4, iifname: 6, oifname: 7, nfproto: 15, l4proto: 16 } as const;
/** enum nft_ct_keys */
const CT = { state: 0, direction: 1, status: 2, mark: 3 } as const;
/** Of a packet, from its IP header on, told with a log: the longest IPv4 header, or IPv6 with options, and ports. */
const SNAP_BYTES = 128;
const WHOLE_BYTES = 0xffff;
/** NFT_QUEUE_FLAG_BYPASS */
const QUEUE_BYPASS = 1;

function expression(name: string, body: (writer: MessageWriter) => void): Expression {
  return (writer) =>
    writer.nest(LIST_ELEM, () => {
      writer.str(EXPR.name, name);
      writer.nest(EXPR.data, () => body(writer));
    });
}

const register = (number: number): number => REG32_00 + number;

export function payload(
  base: keyof typeof PAYLOAD_BASE,
  [offset, size]: readonly [number, number],
  into: number,
): Expression {
  return expression('payload', (writer) => {
    writer.u32be(1, register(into));
    writer.u32be(2, PAYLOAD_BASE[base]);
    writer.u32be(3, offset);
    writer.u32be(4, size);
  });
}

export function meta(key: keyof typeof META, into: number): Expression {
  return expression('meta', (writer) => {
    writer.u32be(1, register(into));
    writer.u32be(2, META[key]);
  });
}

/** The mark of the packet, as the register has it. */
export function setMark(from: number): Expression {
  return expression('meta', (writer) => {
    writer.u32be(2, META.mark);
    writer.u32be(3, register(from));
  });
}

/** The packet passes connection tracking by; only before that has seen it. */
export function notrack(): Expression {
  return expression('notrack', () => {});
}

/** Bits of what became of the connection (enum ip_conntrack_status); ends the rule where there is none. */
export function connectionStatus(into: number): Expression {
  return expression('ct', (writer) => {
    writer.u32be(1, register(into));
    writer.u32be(2, CT.status);
  });
}

/** Bits of the connection's state: 2 established, 4 related, 8 new (NF_CT_STATE_BIT). */
export function connectionState(into: number): Expression {
  return expression('ct', (writer) => {
    writer.u32be(1, register(into));
    writer.u32be(2, CT.state);
  });
}

/** A byte: 0 for packets in the direction of the first, 1 for replies; ends the rule where there is no connection. */
export function connectionDirection(into: number): Expression {
  return expression('ct', (writer) => {
    writer.u32be(1, register(into));
    writer.u32be(2, CT.direction);
  });
}

export function connectionMark(into: number): Expression {
  return expression('ct', (writer) => {
    writer.u32be(1, register(into));
    writer.u32be(2, CT.mark);
  });
}

/** The register and `mask`, then with the bits of `flip` turned round; all in the byte order of the host. */
export function mask(at: number, mask: number, flip = 0): Expression {
  const [kept, turned] = [mask, flip].map((value) => {
    const word = Buffer.alloc(4);
    word.writeUInt32LE(value >>> 0);
    return word;
  }) as [Buffer, Buffer];
  return expression('bitwise', (writer) => {
    writer.u32be(1, register(at));
    writer.u32be(2, register(at));
    writer.u32be(3, 4);
    writer.nest(4, () => writer.data(DATA.value, kept));
    writer.nest(5, () => writer.data(DATA.value, turned));
  });
}

/** Ends the rule unless the bytes in the register are (or are not) these. */
export function compare(at: number, test: 'equal' | 'unequal', value: Uint8Array): Expression {
  return expression('cmp', (writer) => {
    writer.u32be(1, register(at));
    writer.u32be(2, test === 'equal' ? 0 : 1);
    writer.nest(3, () => writer.data(DATA.value, value));
  });
}

/** Ends the rule unless the bytes in the register lie between these two, inclusive. */
export function within(at: number, from: Uint8Array, to: Uint8Array): Expression {
  return expression('range', (writer) => {
    writer.u32be(1, register(at));
    writer.u32be(2, 0);
    writer.nest(3, () => writer.data(DATA.value, from));
    writer.nest(4, () => writer.data(DATA.value, to));
  });
}

/** The data of the entry whose key stands from `key` on; `verdict`: which is then followed. */
export function lookup(map: string, key: number, into: number | 'verdict'): Expression {
  return expression('lookup', (writer) => {
    writer.str(1, map);
    writer.u32be(2, register(key));
    writer.u32be(3, into === 'verdict' ? REG_VERDICT : register(into));
  });
}

/** Ends the rule unless the set has what stands from `key` on. */
export function member(set: string, key: number): Expression {
  return expression('lookup', (writer) => {
    writer.str(1, set);
    writer.u32be(2, register(key));
  });
}

/** Puts these bytes into registers from `into` on. */
export function constant(into: number, value: Uint8Array): Expression {
  return expression('immediate', (writer) => {
    writer.u32be(1, register(into));
    writer.nest(2, () => writer.data(DATA.value, value));
  });
}

export function verdict(verdict: Verdict): Expression {
  return expression('immediate', (writer) => {
    writer.u32be(1, REG_VERDICT);
    writer.nest(2, () => writeVerdict(writer, verdict));
  });
}

export function counter(): Expression {
  return expression('counter', () => {});
}

/** Ends the rule when there are more packets; as many as those of one second may come at once. */
export function limit(perSecond: number): Expression {
  return expression('limit', (writer) => {
    writer.u64be(1, BigInt(perSecond));
    writer.u64be(2, 1n);
    writer.u32be(3, perSecond);
  });
}

/** NFLOG; the prefix has at most 127 bytes. */
export function log(group: number, prefix: string): Expression {
  return expression('log', (writer) => {
    writer.data(1, Uint8Array.of(group >> 8, group & 255));
    writer.str(2, prefix);
    writer.u32be(3, SNAP_BYTES);
  });
}

/** NFLOG of as much as its reader asks for, each packet at once. */
export function logWhole(group: number): Expression {
  return expression('log', (writer) => {
    writer.data(1, Uint8Array.of(group >> 8, group & 255));
    writer.u32be(3, WHOLE_BYTES);
    writer.data(4, Uint8Array.of(0, 1));
  });
}

/** NFQUEUE: the packet waits for its reader's verdict, and passes where there is no reader. */
export function queue(number: number): Expression {
  return expression('queue', (writer) => {
    writer.data(1, Uint8Array.of(number >> 8, number & 255));
    writer.data(2, Uint8Array.of(0, 1));
    writer.data(3, Uint8Array.of(0, QUEUE_BYPASS));
  });
}

/** NFTA_DATA_VERDICT, inside the attribute of the data. */
export function writeVerdict(writer: MessageWriter, verdict: Verdict): void {
  writer.nest(DATA.verdict, () => {
    writer.u32be(VERDICT.code, typeof verdict === 'string' ? CODE[verdict] : CODE[verdict.to]);
    if (typeof verdict !== 'string') writer.str(VERDICT.chain, verdict.chain);
  });
}
