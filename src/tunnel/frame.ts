/**
 * What goes over UDP. A datagram is a header in clear, laid out as WireGuard's message of type 4, and a body:
 *
 *    0 type   1 zero (3)   4 receiver index u32   8 counter u64 | 16 hint (8)   24 packet …          | tag (16)
 *    └── nonce and key of the AEAD follow from the header ────┘ └─ encrypted, or in clear in plain mode ┘
 *
 * Each datagram stands for itself. One that carries a segment of a super-packet (TSO) has the headers of the whole, so that
 * what was lost costs only itself, and says in its hint which segment it is; segments of one super-packet have
 * consecutive counters. A hint is virtio's (include/uapi/linux/virtio_net.h): checksums stay unfinished across the
 * tunnel and are finished, or never needed, at its far end. Integers are little-endian.
 */
export const HEADER_BYTES = 16;
export const HINT_BYTES = 8;
/** Where the inner packet begins in a datagram. */
export const PACKET_AT = HEADER_BYTES + HINT_BYTES;
export const TAG_BYTES = 16;

export const TYPE = { initiation: 1, response: 2, sealed: 4, plain: 5 } as const;

/**
 * Of the hint's first byte.
 *   packet:   1 needs a checksum (0, 1)   2 checksum start u16   4 checksum offset u16
 *   segment:  1 virtio GSO type   2 offset of the TCP or UDP header   3 bytes of headers   4 index   5 count   6 size u16
 *   part:     see parts.ts
 *   bundle:   see bundle.ts
 *   else:     see paths.ts
 */
export const KIND = {
  packet: 1,
  segment: 2,
  keepalive: 3,
  probe: 4,
  probeAck: 5,
  part: 6,
  bundle: 7,
} as const;

/** struct virtio_net_hdr: flags, gso_type, hdr_len u16, gso_size u16, csum_start u16, csum_offset u16. */
export const VNET_BYTES = 10;
export const VNET_NEEDS_CSUM = 1;
export const GSO = { none: 0, tcp4: 1, tcp6: 4, udp: 5, ecn: 0x80 } as const;

const HIGH = 2 ** 32;

/** The counter is a safe integer. */
export function writeHeader(view: DataView, at: number, receiver: number, counter: number): void {
  view.setUint32(at + 4, receiver, true);
  view.setUint32(at + 8, counter >>> 0, true);
  view.setUint32(at + 12, (counter / HIGH) >>> 0, true);
}

export function writeType(view: DataView, at: number, type: number): void {
  view.setUint32(at, type, true);
}

/** NaN for a counter that no sender of ours reaches: it compares as neither new nor old, and is refused. */
export function readCounter(view: DataView, at: number): number {
  const high = view.getUint32(at + 12, true);
  return high > 0x1f_ffff ? Number.NaN : high * HIGH + view.getUint32(at + 8, true);
}

/** Bytes that the tunnel adds to an inner packet, the outer IP header (without options) included. */
export function overheadOf(outer: 4 | 6, sealed: boolean): number {
  return (outer === 4 ? 20 : 40) + 8 + PACKET_AT + (sealed ? TAG_BYTES : 0);
}
