/**
 * The API server's wall clock, as far as its answers tell it: each says the second (RFC 9110, Date) in which it was made,
 * which was between the question and the answer. So the server's time is known within bounds that do not hang on this
 * node's own wall clock, which may jump by days.
 */
export type Sample = {
  /** The Date of the answer, epoch milliseconds. */
  readonly dateMs: number;
  /** Monotonic, of this node. */
  readonly sentMs: number;
  readonly receivedMs: number;
};

/** A date tells the second only. */
const SECOND_MS = 1000;

export class ServerClock {
  /** What has to be added to the monotonic time. */
  #offset: { readonly low: number; readonly high: number } | undefined;

  observe({ dateMs, sentMs, receivedMs }: Sample): void {
    if (Number.isNaN(dateMs)) return;
    const now = { low: dateMs - receivedMs, high: dateMs + SECOND_MS - sentMs };
    const low = Math.max(now.low, this.#offset?.low ?? -Infinity);
    const high = Math.min(now.high, this.#offset?.high ?? Infinity);
    // Nothing fits: its clock was set, or it is another server.
    this.#offset = low <= high ? { low, high } : now;
  }

  /** It is at least, and at most, so late there; undefined: nothing was heard yet. Epoch milliseconds. */
  at(monotonicMs: number): { readonly lowMs: number; readonly highMs: number } | undefined {
    const offset = this.#offset;
    return offset && { lowMs: monotonicMs + offset.low, highMs: monotonicMs + offset.high };
  }
}
