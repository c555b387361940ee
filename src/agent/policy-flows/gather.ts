/** Packets that are the same within a second as one event with their number. Holds a bounded number of them. */
import type { Clock } from '#lib/clock.ts';
import type { LoggedPacket } from '#kernel/nflog.ts';
import type { FlowEvent, FlowFacts } from '#model/flow-event.ts';
import type { LogMark } from '#model/policy-log.ts';

const WINDOW_MS = 1_000;
const MAX_PENDING = 2_048;

export type GatherOptions = {
  readonly clock: Clock;
  /** Aborts: what has come is told at once. */
  readonly signal: AbortSignal;
  /** Asked once for each event. */
  readonly describe: (packet: LoggedPacket, mark: LogMark) => FlowFacts;
  readonly onEvent: (event: FlowEvent) => void;
  /** There are too many different ones. */
  readonly onLost: (packets: number) => void;
};

type Pending = { readonly facts: FlowFacts; readonly timeMs: number; count: number };

export class Gatherer {
  readonly #options: GatherOptions;
  readonly #pending = new Map<string, Pending>();

  constructor(options: GatherOptions) {
    this.#options = options;
  }

  add(packet: LoggedPacket, mark: LogMark): void {
    const { clock, signal, describe, onLost } = this.#options;
    const key = identityOf(packet, mark);
    const known = this.#pending.get(key);
    if (known !== undefined) {
      known.count += 1;
      return;
    }
    if (this.#pending.size >= MAX_PENDING) return onLost(1);
    if (this.#pending.size === 0) void clock.sleep(WINDOW_MS, signal).then(() => this.#flush());
    const timeMs = packet.timeMs ?? clock.nowMs();
    this.#pending.set(key, { facts: describe(packet, mark), timeMs, count: 1 });
  }

  #flush(): void {
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const { facts, timeMs, count } of pending)
      this.#options.onEvent({ time: new Date(timeMs).toISOString(), count, ...facts });
  }
}

/** Chains may have asked about the source port; entries have not. */
function identityOf({ prefix, flow }: LoggedPacket, mark: LogMark): string {
  const { protocol, source, destination, sourcePort, destinationPort, icmp, before } = flow;
  const isOfChain = mark.kind === 'rule' || mark.direction === undefined;
  const ends = [source, destination, destinationPort, before?.destination, before?.destinationPort];
  const more = [icmp?.type, icmp?.code, isOfChain ? sourcePort : ''];
  return [prefix, protocol, ...ends, ...more].join(' ');
}
