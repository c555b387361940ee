/**
 * One leader among many processes, by one object of the store and compare-and-swap (docs/decisions/0017-controller.md).
 *
 *     leader     ├─ renews ──────────────── acts ─────────────┤ deadline            t: when it sent what was confirmed last
 *                t                                            t + deadline
 *     follower        ├─ sees it ─────────────── waits its duration ──────┤ takes it
 *                     ≥ t                                        ≥ t + duration
 *
 * What always holds: who leads, by his own clock, is the only one, as long as no clock runs faster than another by as much as
 * the duration is longer than the deadline. What is on its way to the store when its sender has stopped leading is
 * made harmless by compare-and-swap, as `fence` (./fence.ts) asks for it.
 */
import { Sighting } from './sighting.ts';
import type { Clock } from '#lib/clock.ts';
import { Fault } from '#model/fault.ts';
import type { Lease } from '#model/lease.ts';
import type { Store, Stored, Version } from '#stores/store.ts';

export type LeaseTiming = {
  /** After so long without a change others take the lease. */
  readonly durationMs: number;
  /** So long after its last renewal was sent the leader acts; less than the duration. */
  readonly deadlineMs: number;
  /** From one renewal, or look, to the next. */
  readonly retryMs: number;
};

export type LeadershipOptions = {
  readonly store: Pick<Store, 'get' | 'put'>;
  readonly clock: Clock;
  readonly timing: LeaseTiming;
  /** Name of the lease. */
  readonly name: string;
  /** No other process has it, nor had it. */
  readonly identity: string;
  readonly random?: () => number;
  /** Told after each attempt; a deadline that passes meanwhile is noticed by `isLeading` alone. */
  readonly onAttempt?: (isLeading: boolean, error: unknown) => void;
};

type Held = {
  readonly lease: Lease;
  readonly version: Version;
  readonly sentAtMs: number;
  /** Wall time less monotonic time at that moment. */
  readonly offsetMs: number;
};

/** A host that slept, or whose time was set, asks the store before it believes its clock again. */
const JUMP_MS = 1000;

export class NotLeading extends Error {}

export class Leadership {
  readonly #options: LeadershipOptions;
  readonly #sighting: Sighting;
  #held: Held | undefined;

  constructor(options: LeadershipOptions) {
    this.#options = options;
    this.#sighting = new Sighting(options.timing.durationMs);
  }

  /** Nobody else leads at this moment. */
  get isLeading(): boolean {
    const { clock, timing } = this.#options;
    if (this.#held === undefined) return false;
    const now = clock.monotonicMs();
    const jumped = Math.abs(clock.nowMs() - now - this.#held.offsetMs);
    return now - this.#held.sentAtMs < timing.deadlineMs && jumped < JUMP_MS;
  }

  /** Immediately before whatever a leader does. Throws NotLeading. */
  ensure(): void {
    if (!this.isLeading) throw new NotLeading('another controller may lead by now');
  }

  /** Seeks the lease and keeps it until the signal aborts. It is held still then: `release` it once nothing is under way. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, timing, onAttempt, random = Math.random } = this.#options;
    while (!signal.aborted) {
      let failure: unknown;
      await this.attempt().catch((error: unknown) => (failure = error));
      onAttempt?.(this.isLeading, failure);
      await clock.sleep(timing.retryMs * (0.8 + 0.4 * random()), signal);
    }
  }

  /** Renews the lease, or takes it if nobody can hold it. Throws what the store throws. */
  async attempt(): Promise<void> {
    if (this.#held !== undefined && (await this.#renew(this.#held))) return;
    const { store, name, clock, identity } = this.#options;
    const found = await store.get('Lease', name);
    const isOurs = (found?.value as Lease | undefined)?.holderIdentity === identity;
    if (!isOurs && this.#sighting.mayBeHeld(found, clock.monotonicMs())) return;
    await this.#swap(this.#taken(found), found?.version ?? 'absent');
  }

  /** Somebody else may take it at once. */
  async release(): Promise<void> {
    const held = this.#held;
    this.#held = undefined;
    if (held === undefined) return;
    const { store, name } = this.#options;
    const lease: Lease = { ...held.lease, holderIdentity: '', renewTime: this.#time() };
    await store.put('Lease', name, lease, { expect: held.version }).catch(unlessConflict);
  }

  /** False: it is not as it was left, be it by somebody else or by a write of ours that was not answered. */
  async #renew({ lease, version }: Held): Promise<boolean> {
    const isRenewed = await this.#swap({ ...lease, renewTime: this.#time() }, version);
    if (!isRenewed) this.#held = undefined;
    return isRenewed;
  }

  async #swap(lease: Lease, expect: Version | 'absent'): Promise<boolean> {
    const { store, name, clock } = this.#options;
    const sentAtMs = clock.monotonicMs();
    const offsetMs = clock.nowMs() - sentAtMs;
    const stored = await store.put('Lease', name, lease, { expect }).catch(unlessConflict);
    if (stored === undefined) return false;
    this.#held = { lease, version: stored.version, sentAtMs, offsetMs };
    return true;
  }

  #taken(found: Stored | undefined): Lease {
    const { identity, timing } = this.#options;
    const before = found?.value as Partial<Lease> | undefined;
    const time = this.#time();
    return {
      holderIdentity: identity,
      leaseDurationSeconds: Math.ceil(timing.durationMs / 1000),
      acquireTime: time,
      renewTime: time,
      leaseTransitions: (before?.leaseTransitions ?? 0) + (before?.holderIdentity === identity ? 0 : 1),
    };
  }
  #time(): string {
    return new Date(this.#options.clock.nowMs()).toISOString().replace('Z', '000Z');
  }
}

function unlessConflict(error: unknown): undefined {
  if (!(error instanceof Fault && error.code === 'store-conflict')) throw error;
}
