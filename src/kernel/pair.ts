/** A pod's veth pair across two namespaces, in one request. */
import { Fault } from '#model/fault.ts';
import type { VethPair } from './kernel.ts';
import { createVeth, RTM_NEWLINK } from './netlink/link.ts';
import { readLink } from './netlink/link-row.ts';
import { NetlinkError } from './netlink/socket.ts';
import { findLink, type Scope } from './scope.ts';

/** Throws Fault `kernel`, with nothing left behind. */
export function createPair(scope: Scope, pair: VethPair): { hostIndex: number; podIndex: number } {
  const { socket, writer } = scope;
  try {
    writer.clear();
    createVeth(writer, pair);
    const [echo] = socket.request(writer, (message) =>
      message.type === RTM_NEWLINK ? readLink(message) : undefined,
    );
    // Before Linux 6.2 there is no echo.
    const row = echo ?? findLink(scope, pair.hostName);
    if (row?.link === undefined) throw new Fault('kernel', `${pair.hostName} is gone again`);
    return { hostIndex: row.index, podIndex: row.link };
  } catch (error) {
    if (!(error instanceof NetlinkError)) throw error;
    throw new Fault('kernel', `veth pair ${pair.hostName} and ${pair.podName}: ${error.message}`, {
      cause: error,
    });
  }
}
