/**
 * Token buckets and redirection over rtnetlink (include/uapi/linux/rtnetlink.h, pkt_sched.h, pkt_cls.h). Both carry
 * marks by which they are known as ours on any link: the handle of the qdisc, the preference of the filter.
 */
import {
  Attributes,
  type Message,
  type MessageWriter,
  NLM_F_CREATE,
  NLM_F_EXCL,
  NLM_F_REPLACE,
} from './message.ts';

const RTM_NEWQDISC = 36;
const RTM_DELQDISC = 37;
const RTM_GETQDISC = 38;
const RTM_NEWTFILTER = 44;
const RTM_DELTFILTER = 45;
const RTM_GETTFILTER = 46;

/** Bytes of `struct tcmsg`. */
const HEADER = 20;
const TC_H_ROOT = 0xffff_ffff;
const TC_H_INGRESS = 0xffff_fff1;
const INGRESS_HANDLE = 0xffff_0000;
/** Where filters on what comes in hang, whether the qdisc is `ingress` or somebody's `clsact`. */
const INGRESS_FILTERS = 0xffff_fff2;
const TCA = { kind: 1, options: 2 } as const;
const TBF = { parameters: 1, rate64: 4, burst: 6 } as const;
const U32 = { selector: 5, actions: 7 } as const;
const ACT = { kind: 1, options: 2 } as const;
const MIRRED_PARAMETERS = 2;

/** The qdisc's major number: ours, with the three bits of the rate that the kernel's bytes per second lose. */
const TBF_MAJOR = 0x7a70;
const FILTER_PREFERENCE = 0x7a70;
/** linux/if_ether.h ETH_P_ALL, in network order as `tcm_info` wants it. */
const ALL_PROTOCOLS = 0x0300;

/** How long a packet may wait in the bucket's queue: as the reference bandwidth plugin. */
const LATENCY_SECONDS = 0.025;
/** The kernel counts a bucket's depth in time, in ticks of 64 ns (PSCHED_SHIFT) and 32 bits. */
const TICK_SECONDS = 64e-9;
const TICK_RANGE = 2 ** 32;
const U32_MAX = 0xffff_ffff;

/** Rate in bit/s, burst in bytes. */
export type Bucket = { readonly rate: number; readonly burst: number };
/** `tcm_*` of one message. */
type Place = {
  readonly index: number;
  readonly handle: number;
  readonly parent: number;
  readonly info: number;
};

function begin(writer: MessageWriter, type: number, flags: number, place: Partial<Place>): void {
  writer.begin(type, flags);
  writer.put32(0);
  for (const field of ['index', 'handle', 'parent', 'info'] as const) writer.put32(place[field] ?? 0);
}

/** Bytes that may wait besides the burst. */
export const backlog = (bytesPerSecond: number): number => Math.floor(bytesPerSecond * LATENCY_SECONDS);

/** A bucket at the link's root, in place of what is there. Throws RangeError on a rate or burst that tbf has not. */
export function putBucket(writer: MessageWriter, index: number, { rate, burst }: Bucket): void {
  const bytesPerSecond = Math.floor(rate / 8);
  const limit = backlog(bytesPerSecond) + burst;
  if (!(bytesPerSecond >= 1 && burst >= 1 && Number.isSafeInteger(rate) && limit <= U32_MAX)) {
    throw new RangeError(`no token bucket of ${rate} bit/s with ${burst} bytes`);
  }
  const handle = bucketHandle(rate);
  begin(writer, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, { index, handle, parent: TC_H_ROOT });
  writer.str(TCA.kind, 'tbf');
  writer.nest(TCA.options, () => {
    writer.data(TBF.parameters, bucketParameters(bytesPerSecond, limit));
    if (bytesPerSecond > U32_MAX) writer.u64(TBF.rate64, BigInt(bytesPerSecond));
    writer.u32(TBF.burst, burst);
  });
  writer.end();
}

const bucketHandle = (rate: number): number => (TBF_MAJOR | (rate & 7)) * 0x1_0000;

/** `struct tc_tbf_qopt`: rate, peak rate (none), limit, buffer (given as TCA_TBF_BURST), mtu. */
function bucketParameters(bytesPerSecond: number, limit: number): Buffer {
  const TC_LINKLAYER_ETHERNET = 1;
  const parameters = Buffer.alloc(36);
  parameters.writeUInt8(TC_LINKLAYER_ETHERNET, 1);
  parameters.writeUInt32LE(Math.min(bytesPerSecond, U32_MAX), 8);
  parameters.writeUInt32LE(limit, 24);
  return parameters;
}

/** Only a bucket of ours is removed. */
export function removeBucket(writer: MessageWriter, index: number, { rate }: Bucket): void {
  begin(writer, RTM_DELQDISC, 0, { index, handle: bucketHandle(rate), parent: TC_H_ROOT });
  writer.str(TCA.kind, 'tbf');
  writer.end();
}

/** Room for filters on what comes in; EEXIST when there is some already. */
export function putIngress(writer: MessageWriter, index: number): void {
  const place = { index, handle: INGRESS_HANDLE, parent: TC_H_INGRESS };
  begin(writer, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, place);
  writer.str(TCA.kind, 'ingress');
  writer.end();
}

/** Refused by the kernel when the qdisc is somebody's `clsact`. */
export function removeIngress(writer: MessageWriter, index: number): void {
  begin(writer, RTM_DELQDISC, 0, { index, handle: INGRESS_HANDLE, parent: TC_H_INGRESS });
  writer.str(TCA.kind, 'ingress');
  writer.end();
}

const filterPlace = (index: number): Partial<Place> => ({
  index,
  parent: INGRESS_FILTERS,
  info: FILTER_PREFERENCE * 0x1_0000 + ALL_PROTOCOLS,
});

/** Sends every packet that comes in by `index` out by `to`. */
export function putRedirect(writer: MessageWriter, index: number, to: number): void {
  begin(writer, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, filterPlace(index));
  writer.str(TCA.kind, 'u32');
  writer.nest(TCA.options, () => {
    writer.data(U32.selector, matchAll());
    writer.nest(U32.actions, () => {
      writer.nest(1, () => {
        writer.str(ACT.kind, 'mirred');
        writer.nest(ACT.options, () => writer.data(MIRRED_PARAMETERS, mirred(to)));
      });
    });
  });
  writer.end();
}

/** `struct tc_u32_sel` with one key of which no bit is compared. */
function matchAll(): Buffer {
  const TC_U32_TERMINAL = 1;
  const selector = Buffer.alloc(32);
  selector.writeUInt8(TC_U32_TERMINAL, 0);
  selector.writeUInt8(1, 2);
  return selector;
}

/** `struct tc_mirred`: five fields of every action, then what to do and with which link. */
function mirred(to: number): Buffer {
  const TC_ACT_STOLEN = 4;
  const TCA_EGRESS_REDIR = 1;
  const parameters = Buffer.alloc(28);
  parameters.writeInt32LE(TC_ACT_STOLEN, 8);
  parameters.writeInt32LE(TCA_EGRESS_REDIR, 20);
  parameters.writeUInt32LE(to, 24);
  return parameters;
}

export function removeRedirect(writer: MessageWriter, index: number): void {
  begin(writer, RTM_DELTFILTER, 0, filterPlace(index));
  writer.end();
}

/** A dump request for the qdiscs of all links. */
export function askQdiscs(writer: MessageWriter, flags: number): void {
  begin(writer, RTM_GETQDISC, flags, {});
  writer.end();
}

/** A dump request for the filters on what comes in by a link. */
export function askFilters(writer: MessageWriter, flags: number, index: number): void {
  begin(writer, RTM_GETTFILTER, flags, { index, parent: INGRESS_FILTERS });
  writer.end();
}

export type QdiscRow =
  | { readonly type: 'bucket'; readonly index: number; readonly bucket: Bucket }
  | { readonly type: 'ingress'; readonly index: number };

/** A bucket of ours, or a place where a redirect of ours can be. */
export function readQdisc(message: Message): QdiscRow | undefined {
  const { bytes, at, end } = message;
  const index = bytes.readInt32LE(at + 4);
  const attributes = new Attributes(bytes, at + HEADER, end);
  const kind = attributes.str(TCA.kind);
  if (kind === 'ingress' || kind === 'clsact') return { type: 'ingress', index };
  const major = bytes.readUInt16LE(at + 10);
  if (kind !== 'tbf' || (major & ~7) !== TBF_MAJOR) return undefined;
  // Other kinds have a bare struct there.
  const options = attributes.nest(TCA.options);
  if (options === undefined) return undefined;
  return { type: 'bucket', index, bucket: readBucket(options, major & 7) };
}

function readBucket(options: Attributes, lostBits: number): Bucket {
  const parameters = options.data(TBF.parameters) ?? Buffer.alloc(36);
  const wide = options.data(TBF.rate64);
  const bytesPerSecond = wide === undefined ? parameters.readUInt32LE(8) : Number(wide.readBigUInt64LE());
  const depth = { limit: parameters.readUInt32LE(24), ticks: parameters.readUInt32LE(28) };
  return { rate: bytesPerSecond * 8 + lostBits, burst: readBurst(bytesPerSecond, depth) };
}

/**
 * The kernel keeps the burst as time, which does not give the bytes back exactly; but the limit does, since we made it
 * from the burst. When the two disagree somebody changed the bucket, and the time tells.
 */
export function readBurst(
  bytesPerSecond: number,
  { limit, ticks }: { limit: number; ticks: number },
): number {
  const burst = limit - backlog(bytesPerSecond);
  const exact = burst / bytesPerSecond / TICK_SECONDS;
  const off = Math.abs((exact % TICK_RANGE) - ticks);
  const tolerance = 4 + exact / 2 ** 30;
  if (burst > 0 && Math.min(off, TICK_RANGE - off) <= tolerance) return burst;
  return Math.round(ticks * TICK_SECONDS * bytesPerSecond);
}

/** Index of the link that our filter redirects to (0 when it is gone); undefined for any other filter. */
export function readRedirect({ bytes, at, end }: Message): number | undefined {
  if (bytes.readUInt16LE(at + 18) !== FILTER_PREFERENCE) return undefined;
  const attributes = new Attributes(bytes, at + HEADER, end);
  const action = attributes.nest(TCA.options)?.nest(U32.actions)?.nest(1);
  if (action?.str(ACT.kind) !== 'mirred') return undefined;
  return action.nest(ACT.options)?.data(MIRRED_PARAMETERS)?.readUInt32LE(24);
}
