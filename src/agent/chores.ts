/** What the agent looks at from time to time besides its two loops: other programs' firewalls, and leaks. */
import type { Attachments, Ledger } from './pods/attachments.ts';
import { bootId } from './boot.ts';
import { Foreign, type ForeignOptions } from './host/foreign.ts';
import { Garbage } from './pods/garbage.ts';
import { Leaks } from './pods/leaks.ts';
import { type Reconciler, type ReconcilerOptions, startReconciler } from '#lib/reconciler.ts';
import type { Settings } from '#model/settings.ts';
import type { Store } from '#stores/store.ts';

const FOREIGN_RESYNC_MS = 60_000;
const LEAKS_RESYNC_MS = 180_000;

export type ChoresOptions = ForeignOptions & {
  readonly settings: Settings;
  readonly store: Store;
  readonly ledger: Ledger;
  readonly attachments: Pick<Attachments, 'inFlight' | 'collect'>;
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
  const { ledger, attachments, events, loop, settings } = options;
  const { inFlight } = attachments;
  const foreign = new Foreign(options);
  const leaks = new Leaks({ attachments: () => ledger.list(), bootId: bootId(), inFlight, events });
  const garbage = openGarbage(options, leaks);
  // Whoever wants garbage sooner has it looked for more often.
  const garbageMs = settings.kubernetes.garbageSeconds * 1000;
  const leaksMs = garbage === undefined ? LEAKS_RESYNC_MS : Math.min(LEAKS_RESYNC_MS, garbageMs / 4);
  const start = (resyncMs: number, work: () => void | Promise<void>): Reconciler =>
    startReconciler({ ...loop, resyncMs, pass: async () => (await work(), 'ok') });
  const tidy = (): void | Promise<void> => {
    leaks.look();
    return garbage?.look();
  };
  const loops = [start(FOREIGN_RESYNC_MS, () => foreign.refresh()), start(leaksMs, tidy)] as const;
  return {
    foreign,
    leaks,
    nudge: () => loops[0].nudge(),
    stopped: Promise.all(loops.map((one) => one.stopped)),
  };
}

/** Undefined: nobody can be asked for pods, or the operator wants none collected. */
function openGarbage(options: ChoresOptions, leaks: Leaks): Garbage | undefined {
  const { settings, store, attachments, loop } = options;
  const { garbageSeconds } = settings.kubernetes;
  if (settings.store.type !== 'kubernetes' || garbageSeconds === 0) return undefined;
  return new Garbage({
    store,
    clock: loop.clock,
    node: settings.node.name,
    graceMs: garbageSeconds * 1000,
    suspects: () => leaks.found,
    collect: (attachment, why) => attachments.collect(attachment, why),
  });
}
