/**
 * What a sender in a pod is told about a packet that cannot go: ICMP "fragmentation needed" and "packet too big", and that
 * there is no road (RFC 792, 1191, 4443, 8201). They come from the address the packet was sent to, as from the far end of
 * the tunnel: from the node's own address they would be martians, arriving as they do over the device.
 */
import { familyAt, IP4_HEADER, IP6_HEADER, setIp4Checksum, sum16, fold } from './inner.ts';
import type { Memory } from './memory.ts';

export type Refusal = { readonly why: 'too-big'; readonly mtu: number } | { readonly why: 'no-road' };
type Spot = { readonly at: number; readonly size: number };

const ICMP = 1;
const [ECHO_REPLY, ECHO] = [0, 8];
const ICMP6 = 58;
const ICMP_HEADER = 8;
/** RFC 1812 section 4.3.2.3, RFC 4443 section 2.4 (c): the whole answer. */
const LONGEST = { 4: 576, 6: 1280 } as const;
export const REFUSAL_BYTES = 1280;

/** RFC 1122 section 3.2.2: none about errors, later fragments, or what was not sent by and to one host. */
function mayAnswer4({ view }: Memory, { at, size }: Spot): boolean {
  const [from, to] = [view.getUint8(at + 12), view.getUint8(at + 16)];
  if (from === 0 || from >= 224 || to >= 224 || (view.getUint16(at + 6) & 0x1fff) !== 0) return false;
  const header = (view.getUint8(at) & 0xf) * 4;
  if (view.getUint8(at + 9) !== ICMP || size <= header) return true;
  return [ECHO, ECHO_REPLY].includes(view.getUint8(at + header));
}

/** RFC 4443 section 2.4 (e). */
function mayAnswer6({ view }: Memory, { at, size }: Spot): boolean {
  const unspecified = [0, 4, 8, 12].every((word) => view.getUint32(at + 8 + word) === 0);
  if (unspecified || view.getUint8(at + 8) === 0xff || view.getUint8(at + 24) === 0xff) return false;
  const isIcmp = view.getUint8(at + 6) === ICMP6;
  return !isIcmp || (size > IP6_HEADER && view.getUint8(at + IP6_HEADER) >= 128);
}

/**
 * Writes the answer to the packet at `spot` into `to` (REFUSAL_BYTES) and gives its size; 0 when there must be none.
 */
export function writeRefusal(memory: Memory, spot: Spot, refusal: Refusal, to: number): number {
  const family = familyAt(memory, spot.at, spot.size);
  if (family === undefined) return 0;
  if (!(family === 4 ? mayAnswer4 : mayAnswer6)(memory, spot)) return 0;
  const header = family === 4 ? IP4_HEADER : IP6_HEADER;
  const quoted = Math.min(spot.size, LONGEST[family] - header - ICMP_HEADER);
  const size = header + ICMP_HEADER + quoted;
  memory.bytes.copyWithin(to + header + ICMP_HEADER, spot.at, spot.at + quoted);
  memory.bytes.fill(0, to, to + header + ICMP_HEADER);
  if (family === 4) write4(memory, spot.at, { to, size }, refusal);
  else write6(memory, spot.at, { to, size }, refusal);
  return size;
}

type Answer = { readonly to: number; readonly size: number };

function write4({ view, bytes }: Memory, packet: number, { to, size }: Answer, refusal: Refusal): void {
  const icmp = to + IP4_HEADER;
  view.setUint8(to, 0x45);
  view.setUint8(to + 1, 0xc0); // internetwork control (RFC 1812 section 4.3.2.5)
  view.setUint16(to + 2, size);
  view.setUint8(to + 8, 64);
  view.setUint8(to + 9, ICMP);
  bytes.copyWithin(to + 12, packet + 16, packet + 20);
  bytes.copyWithin(to + 16, packet + 12, packet + 16);
  setIp4Checksum(view, to);
  view.setUint8(icmp, 3);
  view.setUint8(icmp + 1, refusal.why === 'too-big' ? 4 : 0);
  if (refusal.why === 'too-big') view.setUint16(icmp + 6, refusal.mtu);
  view.setUint16(icmp + 2, ~sum16(view, icmp, size - IP4_HEADER) & 0xffff);
}

function write6({ view, bytes }: Memory, packet: number, { to, size }: Answer, refusal: Refusal): void {
  const icmp = to + IP6_HEADER;
  const payload = size - IP6_HEADER;
  view.setUint8(to, 0x60);
  view.setUint16(to + 4, payload);
  view.setUint8(to + 6, ICMP6);
  view.setUint8(to + 7, 64);
  bytes.copyWithin(to + 8, packet + 24, packet + 40);
  bytes.copyWithin(to + 24, packet + 8, packet + 24);
  view.setUint8(icmp, refusal.why === 'too-big' ? 2 : 1);
  if (refusal.why === 'too-big') view.setUint32(icmp + 4, refusal.mtu);
  const pseudo = sum16(view, to + 8, 32) + payload + ICMP6;
  view.setUint16(icmp + 2, ~fold(pseudo + sum16(view, icmp, payload)) & 0xffff);
}
