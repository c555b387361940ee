/** Pods of a segment that spans the nodes' bridges (the road layer2): what they are given, and what other nodes are told. */
import type { Attachment } from '#model/attachment.ts';
import type { Station } from '#model/world.ts';
import type { Mac } from '#net/mac.ts';
import type { PerFamily } from '#net/per-family.ts';
import {
  contains,
  type InterfaceAddress,
  interfaceAddress,
  type Prefix,
  prefixAddress,
  prefixFamily,
  prefixLength,
} from '#net/prefix.ts';

/** The address as a pod of the segment has it: the whole of the cluster's range is on its link. */
export function withRange(ip: InterfaceAddress, ranges: PerFamily<Prefix>): InterfaceAddress {
  const range = ranges[prefixFamily(ip)];
  const address = prefixAddress(ip);
  return range === undefined || !contains(range, address)
    ? ip
    : interfaceAddress(address, prefixLength(range));
}

/** Who can be reached on this node. Pods that are not on the bridge are answered for by it. */
export function stationsOf(attachments: readonly Attachment[], bridge: Mac): Station[] {
  return attachments.flatMap(({ wiring, phase, mac, addresses }) => {
    if (phase === 'deleting' || (wiring !== 'bridge' && wiring !== 'routed')) return [];
    return [{ mac: wiring === 'bridge' ? mac : bridge, addresses: addresses.map(prefixAddress) }];
  });
}
