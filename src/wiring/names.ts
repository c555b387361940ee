/**
 * Names and MAC addresses of an attachment's links: functions of its key alone, so that whatever a killed agent left can be
 * found again.
 */
import { fnv1a64, shortHash } from '#lib/hash.ts';
import { type AttachmentKey, attachmentId } from '#model/attachment.ts';
import { IFB_PREFIX, POD_GATEWAY_MAC, POD_LINK_PREFIX } from '#model/numbers.ts';
import { localMac, mac, type Mac } from '#net/mac.ts';

export function hostLinkName(key: AttachmentKey): string {
  return POD_LINK_PREFIX + shortHash(attachmentId(key));
}

/** The ifb through which goes what the pod sends, where that is limited. */
export function ifbName(key: AttachmentKey): string {
  return IFB_PREFIX + shortHash(attachmentId(key));
}

/** The pod's MAC where none is asked for. */
export function podMac(key: AttachmentKey): Mac {
  return localMac(fnv1a64(`pod ${attachmentId(key)}`));
}

/** Routed host ends are all alike, as pods hold a permanent neighbour to them; on a bridge each needs its own. */
export function hostMac(key: AttachmentKey, wiring: 'routed' | 'bridge'): Mac {
  return wiring === 'routed' ? mac(POD_GATEWAY_MAC) : localMac(fnv1a64(`host ${attachmentId(key)}`));
}
