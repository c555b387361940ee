/** The two kinds of outer packets: by IP protocol, and UDP to a port. */
import { PROTOCOL } from '#model/policy.ts';
import type { OuterPackets } from './backend.ts';

/** All of them are ours, for there is no number to tell tunnels by. */
export function ofProtocols(numbers: readonly number[]): OuterPackets {
  const list = numbers.length === 1 ? String(numbers[0]) : `{ ${numbers.join(', ')} }`;
  return { any: `meta l4proto ${list}`, own: `meta l4proto ${list}`, protocols: numbers };
}

/** What follows the port in `own` tells our tunnel from others on it. */
export function ofPort(port: number, own = ''): OuterPackets {
  const any = `udp dport ${port}`;
  return { any, own: `${any}${own}`, protocols: [PROTOCOL.udp], port };
}
