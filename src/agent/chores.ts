/** What the agent looks at from time to time besides its two loops: other programs' firewalls, and leaks. */
import type { Ledger } from './pods/attachments.ts';
import { bootId } from './boot.ts';
import { Foreign, type ForeignOptions } from './host/foreign.ts';
import { Leaks } from './pods/leaks.ts';
import { type Reconciler, type ReconcilerOptions, startReconciler } from '#lib/reconciler.ts';

const FOREIGN_RESYNC_MS = 60_000;
const LEAKS_RESYNC_MS = 180_000;

export type ChoresOptions = ForeignOptions & {
  readonly ledger: Ledger;
  readonly inFlight: ReadonlySet<string>;
  readonly loop: Pick<ReconcilerOptions, 'clock' | 'signal' | 'onError'>;
};

export type Chores = {
  readonly foreign: Foreign;
  readonly leaks: Leaks;
  /** Other programs' rules or links changed. */
  readonly nudge: () => void;
  readonly stopped: Promise<unknown>;
};

/** Everything is done once before this returns: accepts that a predecessor made are wanted before others may go. */
export function startChores(options: ChoresOptions): Chores {
  const { ledger, inFlight, events, loop } = options;
  const foreign = new Foreign(options);
  const leaks = new Leaks({ attachments: () => ledger.list(), bootId: bootId(), inFlight, events });
  const start = (resyncMs: number, work: () => void): Reconciler =>
    startReconciler({ ...loop, resyncMs, pass: async () => (work(), 'ok') });
  const loops = [
    start(FOREIGN_RESYNC_MS, () => foreign.refresh()),
    start(LEAKS_RESYNC_MS, () => leaks.look()),
  ] as const;
  return {
    foreign,
    leaks,
    nudge: () => loops[0].nudge(),
    stopped: Promise.all(loops.map((one) => one.stopped)),
  };
}
