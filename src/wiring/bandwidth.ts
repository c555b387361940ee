/**
 * Bandwidth limits of a pod. What it receives is shaped where the host sends it, on the host link; what it sends comes
 * in there, where nothing can be held back, so it goes through an ifb:
 *
 *   pod ◀── [shaper] ttX        pod ──▶ ttX ──redirect──▶ tiX [shaper] ──▶ host
 */
import type { Attachment } from '#model/attachment.ts';
import type { Item } from '#model/host.ts';
import { ifbName } from './names.ts';

/** Ethernet header and a VLAN tag: what a token bucket counts besides the MTU. */
const FRAME_EXTRA = 18;

export function planBandwidth(attachment: Attachment): Item[] {
  const { bandwidth = {}, hostLink: link, mtu } = attachment;
  const items: Item[] = [];
  const { ingressRate, ingressBurst = 0, egressRate, egressBurst = 0 } = bandwidth;
  if (ingressRate !== undefined) {
    items.push({ kind: 'shaper', link, rate: ingressRate, burst: burstBytes(ingressBurst, mtu) });
  }
  if (egressRate !== undefined) {
    const to = ifbName(attachment);
    items.push(
      { kind: 'link', type: 'ifb', name: to, mtu },
      { kind: 'shaper', link: to, rate: egressRate, burst: burstBytes(egressBurst, mtu) },
      { kind: 'redirect', link, to },
    );
  }
  return items;
}

/** A bucket smaller than one frame would never let it pass. */
function burstBytes(bits: number, mtu: number): number {
  return Math.max(Math.ceil(bits / 8), mtu + FRAME_EXTRA);
}
