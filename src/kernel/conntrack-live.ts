/** Which addresses connections lead to. */
import { CONNECTION_MARK } from '#model/numbers.ts';
import type { Address } from '#net/address.ts';
import { dumpMatching, type Entry } from './conntrack.ts';
import { openNetlink } from './netlink/socket.ts';
import type { Scope } from './scope.ts';
import { NETLINK_NETFILTER } from './sys.ts';

/** Of these; one walk over all connections, on a pool thread but for the looking. Those that are cut do not count. */
export async function findLive(run: Scope['run'], among: ReadonlySet<Address>): Promise<Set<Address>> {
  using socket = run(() => openNetlink(NETLINK_NETFILTER));
  const live = new Set<Address>();
  const note = ({ original, reply, mark }: Entry): boolean => {
    if ((mark & CONNECTION_MARK.cut) !== 0) return false;
    for (const address of [original.destination, reply.source])
      if (address !== undefined && among.has(address)) live.add(address);
    return false;
  };
  await dumpMatching(socket, note, () => true);
  return live;
}
