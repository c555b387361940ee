/** The newest events, and whoever follows them: each with a bounded queue, out of which the oldest fall. */
import { type FlowEvent, type FlowFilter, type FlowLine, matchesFlow } from '#model/flow-event.ts';

const QUEUE = 1_024;

type Follower = {
  readonly filter: FlowFilter;
  readonly queue: FlowLine[];
  dropped: number;
  wake: () => void;
};

export class Tail {
  readonly #kept: FlowEvent[] = [];
  readonly #size: number;
  readonly #followers = new Set<Follower>();

  /** `size`: events that are kept. */
  constructor(size: number) {
    this.#size = size;
  }

  push(event: FlowEvent): void {
    this.#kept.push(event);
    if (this.#kept.length > this.#size) this.#kept.shift();
    for (const follower of this.#followers)
      if (matchesFlow(event, follower.filter)) give(follower, { event });
  }

  /** Everybody is told, as it may have been what he waits for. */
  lose(lost: number): void {
    for (const follower of this.#followers) give(follower, { lost, at: 'agent' });
  }

  /** The newest that match, oldest first. */
  last(count: number, filter: FlowFilter): FlowEvent[] {
    const matching = this.#kept.filter((event) => matchesFlow(event, filter));
    return count === 0 ? [] : matching.slice(-count);
  }

  /** The last `count`, then what comes, until the signal aborts. A slow reader misses the oldest, and is told how many. */
  async *follow(filter: FlowFilter, count: number, signal: AbortSignal): AsyncGenerator<FlowLine> {
    const follower: Follower = { filter, queue: [], dropped: 0, wake: () => {} };
    this.#followers.add(follower);
    const past = this.last(count, filter);
    const stop = (): void => follower.wake();
    signal.addEventListener('abort', stop);
    try {
      for (const event of past) yield { event };
      while (!signal.aborted) {
        yield* take(follower);
        const { promise, resolve } = Promise.withResolvers<void>();
        follower.wake = resolve;
        if (follower.queue.length === 0 && !signal.aborted) await promise;
      }
    } finally {
      this.#followers.delete(follower);
      signal.removeEventListener('abort', stop);
    }
  }
}

function give(follower: Follower, line: FlowLine): void {
  follower.queue.push(line);
  if (follower.queue.length > QUEUE) {
    follower.queue.shift();
    follower.dropped += 1;
  }
  follower.wake();
}

/** What has fallen out was older than all that waits. */
function* take(follower: Follower): Generator<FlowLine> {
  while (follower.queue.length > 0) {
    const { dropped } = follower;
    follower.dropped = 0;
    if (dropped > 0) yield { lost: dropped, at: 'reader' };
    const line = follower.queue.shift();
    if (line !== undefined) yield line;
  }
}
