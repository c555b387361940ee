import { backoffMs, type Backoff } from './backoff.ts';
import type { Clock } from './clock.ts';

/**
 * One level-triggered loop: `nudge()` asks for a pass, passes never overlap, any number of nudges during a pass
 * give one more pass. A pass that throws, or answers `retry`, is repeated after a backoff; a successful pass is
 * repeated after `resyncMs` at the latest.
 */
export type Reconciler = {
  nudge(): void;
  /** Resolves when a pass that began after this call has ended (whatever its outcome). */
  settled(): Promise<void>;
  /** Resolves when the signal has aborted and the pass then under way has ended. */
  readonly stopped: Promise<void>;
};

export type ReconcilerOptions = {
  readonly pass: (signal: AbortSignal) => Promise<'ok' | 'retry'>;
  readonly onError: (error: unknown) => void;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly resyncMs: number;
  readonly backoff?: Backoff;
  readonly random?: () => number;
};

export function startReconciler(options: ReconcilerOptions): Reconciler {
  const { clock, signal, backoff = { firstMs: 50, maxMs: 30_000 }, random = Math.random } = options;
  let wanted = true;
  let failures = 0;
  let wake: AbortController = new AbortController();
  let waiters: (() => void)[] = [];

  const onePass = async (): Promise<void> => {
    const served = waiters;
    waiters = [];
    wanted = false;
    try {
      failures = (await options.pass(signal)) === 'ok' ? 0 : failures + 1;
    } catch (error) {
      failures += 1;
      options.onError(error);
    }
    for (const done of served) done();
  };
  const pause = async (): Promise<void> => {
    if (wanted || signal.aborted) return;
    wake = new AbortController();
    const delay = failures === 0 ? options.resyncMs : backoffMs(backoff, failures - 1, random());
    await clock.sleep(delay, wake.signal);
  };
  // Once, and not in each pause: there is one after every event.
  signal.addEventListener('abort', () => wake.abort('ended'), { once: true });
  const run = async (): Promise<void> => {
    while (!signal.aborted) {
      await onePass();
      await pause();
    }
    for (const done of waiters) done();
  };
  const nudge = (): void => {
    wanted = true;
    // A reason given is an error object less: this is called for every event.
    wake.abort('nudged');
  };
  return {
    nudge,
    settled: () =>
      new Promise((resolve) => {
        waiters.push(resolve);
        nudge();
      }),
    stopped: run(),
  };
}
