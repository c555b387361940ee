/** IPv4 packets that are larger than the path and may be cut (no DF): fragments by RFC 791, reassembled by their receiver. */
import { fold, IP4_HEADER, setIp4Checksum, sum16 } from './inner.ts';
import type { Memory } from './memory.ts';

const [DF, MF, OFFSET] = [0x4000, 0x2000, 0x1fff];

/** Whether the IPv4 packet may be fragmented on its way. Options would have to be sorted into fragments: they are not cut. */
export function mayFragment({ view }: Memory, at: number, mtu: number): boolean {
  return view.getUint8(at) === 0x45 && (view.getUint16(at + 6) & DF) === 0 && mtu >= 68;
}

/** Finishes the checksum that virtio left: the sum from `start` to the end, at `start + offset`. */
export function finishChecksum(
  { view }: Memory,
  at: number,
  size: number,
  { start, offset }: { readonly start: number; readonly offset: number },
): void {
  if (start + offset + 2 > size) return;
  // What stands there already is the sum of the pseudo header, and is summed along.
  const sum = ~fold(sum16(view, at + start, size - start)) & 0xffff;
  // A UDP checksum of zero means none (RFC 768); 0xffff is the same sum. For TCP both are right.
  view.setUint16(at + start + offset, sum === 0 ? 0xffff : sum);
}

/** Writes fragment after fragment at `to`, and calls `send` with each one's size before the next overwrites it. */
export function cutPacket(
  memory: Memory,
  packet: { readonly at: number; readonly size: number; readonly mtu: number },
  to: number,
  send: (size: number) => void,
): void {
  const { at, size, mtu } = packet;
  const { view, bytes } = memory;
  const step = (mtu - IP4_HEADER) & ~7;
  const flags = view.getUint16(at + 6);
  for (let from = 0; from < size - IP4_HEADER; from += step) {
    const part = Math.min(step, size - IP4_HEADER - from);
    const more = from + part < size - IP4_HEADER || (flags & MF) !== 0;
    bytes.copyWithin(to, at, at + IP4_HEADER);
    bytes.copyWithin(to + IP4_HEADER, at + IP4_HEADER + from, at + IP4_HEADER + from + part);
    view.setUint16(to + 2, IP4_HEADER + part);
    view.setUint16(to + 6, (more ? MF : 0) | ((flags & OFFSET) + from / 8));
    setIp4Checksum(view, to);
    send(IP4_HEADER + part);
  }
}
