/** Where fields stand in packets: offset and size in bytes from the header's beginning (RFC 791, 8200, 9293, 4443). */
type Place = readonly [offset: number, size: number];

export const PLACES = {
  4: { source: [12, 4], destination: [16, 4] },
  6: { source: [8, 16], destination: [24, 16] },
  sourcePort: [0, 2],
  destinationPort: [2, 2],
  icmpType: [0, 1],
  icmpCode: [1, 1],
} as const satisfies Record<string | number, Place | Record<string, Place>>;
