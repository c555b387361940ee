/** The servers that this node asks itself, as its pods do whose `dnsPolicy` is Default (resolv.conf(5)). */
import { readText } from '#stores/files.ts';
import { type Address, parseAddress } from '#net/address.ts';
import { isReachable } from '#policy/dns/reachable.ts';

const MAX_BYTES = 64 << 10;
/** Where systemd-resolved tells whom it asks; resolv.conf then names itself. */
const RESOLVED = '/run/systemd/resolve/resolv.conf';

export function readResolvers(etc: string): Address[] {
  const files = [`${etc}/resolv.conf`, RESOLVED];
  return [...new Set(files.flatMap((path) => resolversOf(readText(path, MAX_BYTES) ?? '')))];
}

/** Of other hosts: the node's own are in no pod's reach. */
export function resolversOf(text: string): Address[] {
  return Array.from(text.matchAll(/^nameserver\s+(\S+)/gm), ([, word = '']) => parseAddress(word))
    .filter((each) => each !== undefined)
    .filter(isReachable);
}
