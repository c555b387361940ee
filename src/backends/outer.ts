/** How the outer packets of a tunnel are told from all others, in nft's words. */
import { ENCAPSULATION } from '#model/numbers.ts';
import type { Settings } from '#model/settings.ts';
import { families } from '#net/per-family.ts';

/**
 * `any`: by protocol and port alone, which every firewall can write. `own`: those of our tunnel only; other VNIs of a port
 * are others' (24 bits after UDP's 8 bytes and VXLAN's flags), while IP in IP and GRE have no such number: all are ours.
 */
export type OuterPackets = { readonly any: string; readonly own: string };

/** Undefined where packets travel plain. */
export function outerPackets({ road, network }: Settings): OuterPackets | undefined {
  if (road.type === 'vxlan') {
    const any = `udp dport ${road.vxlan.port}`;
    return { any, own: `${any} @th,96,24 ${road.vxlan.vni}` };
  }
  if (road.type === 'wireguard') {
    const any = `udp dport ${road.wireguard.port}`;
    return { any, own: any };
  }
  if (road.type === 'gre') return ofProtocols([ENCAPSULATION.gre]);
  if (road.type === 'ipip')
    return ofProtocols(families(network.subnets).map((inner) => ENCAPSULATION[inner]));
  return undefined;
}

function ofProtocols(numbers: readonly number[]): OuterPackets {
  const list = numbers.length === 1 ? String(numbers[0]) : `{ ${numbers.join(', ')} }`;
  return { any: `meta l4proto ${list}`, own: `meta l4proto ${list}` };
}
