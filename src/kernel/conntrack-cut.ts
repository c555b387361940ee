/**
 * Cuts connections that policies deny by now. They are not deleted: without its entry the next packet, be it a reply,
 * would begin the connection anew, and in a direction that may be allowed. A bit of the connection's mark says so
 * instead, the policy table drops what has it, and it can be taken away again.
 */
import { CONNECTION_MARK } from '#model/numbers.ts';
import type { Flow } from '#model/verdict.ts';
import { begin, type Connection, CTA, dumpMatching, type Entry, name } from './conntrack.ts';
import type { Cut } from './kernel.ts';
import { MessageWriter, NLM_F_ACK } from './netlink/message.ts';
import { NetlinkError, type NetlinkSocket, openNetlink } from './netlink/socket.ts';
import type { Scope } from './scope.ts';
import { NETLINK_NETFILTER } from './sys.ts';

const IPCTNL_MSG_CT_NEW = 0;

/** The first packet of the connection as policies judge it: after DNAT, before SNAT. Undefined: it has no addresses. */
export function flowOf({ original, reply }: Connection): Flow | undefined {
  const { protocol, source, destination, sourcePort, port, icmp } = original;
  if (source === undefined || destination === undefined || reply.source === undefined) return undefined;
  const isSame = destination === reply.source && port === reply.sourcePort;
  return {
    protocol,
    source,
    destination: reply.source,
    ...(sourcePort === undefined ? {} : { sourcePort }),
    ...(reply.sourcePort === undefined ? {} : { destinationPort: reply.sourcePort }),
    ...(icmp === undefined ? {} : { icmp }),
    ...(isSame ? {} : { before: { destination, ...(port === undefined ? {} : { destinationPort: port }) } }),
  };
}

export class Cutter {
  readonly #socket: NetlinkSocket;

  constructor(run: Scope['run']) {
    this.#socket = run(() => openNetlink(NETLINK_NETFILTER));
  }
  /** Not while a walk is under way. */
  close(): void {
    this.#socket[Symbol.dispose]();
  }

  /** Walks all connections once, on a pool thread but for the judging. One walk at a time. */
  async cut(isDenied: (flow: Flow) => boolean): Promise<Cut> {
    const isWrong = (entry: Entry): boolean => {
      const flow = flowOf(entry);
      return flow !== undefined && isDenied(flow) !== isCut(entry);
    };
    const wrong = await dumpMatching(this.#socket, isWrong, () => true);
    if (wrong.length > 0) this.#mark(wrong);
    const restored = wrong.filter(isCut).length;
    return { cut: wrong.length - restored, restored };
  }

  #mark(entries: readonly Entry[]): void {
    const writer = new MessageWriter();
    for (const entry of entries) {
      begin(writer, IPCTNL_MSG_CT_NEW, NLM_F_ACK, entry.family);
      name(writer, entry);
      writer.u32be(CTA.mark, isCut(entry) ? 0 : CONNECTION_MARK.cut);
      writer.u32be(CTA.markMask, CONNECTION_MARK.cut);
      writer.end();
    }
    for (const refusal of this.#socket.batch(writer).refusals.values()) {
      // Ended by itself meanwhile.
      if (refusal.code !== 'ENOENT') throw new NetlinkError(refusal);
    }
  }
}

function isCut({ mark }: Entry): boolean {
  return (mark & CONNECTION_MARK.cut) !== 0;
}
