/**
 * Addresses that a name may stand for. Whoever owns a name that is allowed says where it leads: not to what only the node
 * itself is meant to reach (loopback; link-local, where clouds have their metadata), and not to many at once.
 */
import { type Address, addressFamily, type Family } from '#net/address.ts';
import { contains, prefix, type Prefix } from '#net/prefix.ts';

/** RFC 6890, 4291; also IPv4 in IPv6, which no packet has. */
const UNREACHABLE: Readonly<Record<Family, readonly Prefix[]>> = {
  4: ['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/3'].map(prefix),
  6: ['::/96', '::ffff:0.0.0.0/96', 'fe80::/10', 'ff00::/8'].map(prefix),
};

export function isReachable(address: Address): boolean {
  return !UNREACHABLE[addressFamily(address)].some((each) => contains(each, address));
}
