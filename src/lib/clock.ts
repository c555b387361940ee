/**
 * Time as a value that is handed in, so that what depends on it can be tested without waiting.
 * `nowMs` is wall time (Unix epoch); `monotonicMs` never goes back and is for intervals only.
 */
export type Clock = {
  nowMs(): number;
  monotonicMs(): number;
  /** Resolves after `ms`, or at once (without error) when the signal aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
};

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted === true) return resolve();
      const done = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      signal?.addEventListener('abort', done, { once: true });
    }),
};

/** A clock that stands still until `advance` is called. Sleepers wake in order of their deadline. */
export function manualClock(startMs = 0): Clock & { advance(ms: number): Promise<void> } {
  let now = startMs;
  let sleepers: { at: number; wake: () => void }[] = [];
  return {
    nowMs: () => now,
    monotonicMs: () => now,
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        if (signal?.aborted === true) return resolve();
        sleepers.push({ at: now + ms, wake: resolve });
        signal?.addEventListener('abort', () => resolve(), { once: true });
      }),
    async advance(ms) {
      now += ms;
      const due = sleepers.filter((s) => s.at <= now).sort((a, b) => a.at - b.at);
      sleepers = sleepers.filter((s) => s.at > now);
      for (const sleeper of due) {
        sleeper.wake();
        await Promise.resolve();
      }
    },
  };
}
