/**
 * The controller of a cluster: seeks to lead and, while it does, sees to what must be done once. Each pass compares what
 * is with what should be, so a new leader goes on where the last one was cut off; but what takes time (a node that
 * seems gone) it times anew by its own clock.
 */
import { BlockReclaimer } from './blocks-reclaim.ts';
import { Brake } from './brake.ts';
import { ClusterView } from './cluster-view.ts';
import { Departures } from './departures.ts';
import { fence } from './fence.ts';
import { Leadership, NotLeading } from './leadership.ts';
import { type Metrics, noteCluster } from './metrics.ts';
import { StatusPublisher } from './publisher.ts';
import { findRelease } from './release.ts';
import { summarize } from './summary.ts';
import type { Clock } from '#lib/clock.ts';
import type { Events, Logger } from '#lib/log.ts';
import { type Reconciler, startReconciler } from '#lib/reconciler.ts';
import type { ClusterStatus } from '#model/cluster-status.ts';
import { toFault } from '#model/fault.ts';
import { CONTROLLER_LEASE } from '#model/lease.ts';
import type { Settings } from '#model/settings.ts';
import type { Feeds } from '#stores/feed.ts';
import type { Store } from '#stores/store.ts';

export type ControllerParts = {
  readonly settings: Settings;
  readonly version: string;
  /** Unlike that of every other process, this one's earlier starts included. */
  readonly identity: string;
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly log: Logger;
  readonly events: Events;
  readonly metrics: Metrics;
  readonly store: Store;
  readonly feeds: Feeds;
  /** Makes the store's kinds known to it, or brings them up to date; `ensure` is asked before each write. Once by each leader. */
  readonly define?: ((ensure: () => void) => Promise<void>) | undefined;
};

/** What is on its way when a leader stops must not keep the process for longer. */
const RELEASE_MS = 5000;
const MAX_LOOK_MS = 10_000;

type Duty = readonly [name: string, work: () => Promise<void>];

export class Controller {
  readonly #parts: ControllerParts;
  readonly leadership: Leadership;
  readonly #view: ClusterView;
  /** Of one term: what was timed while nobody in reach of the store could answer, or another led, counts for nothing. */
  #duties: readonly Duty[] = [];
  readonly #brake: Brake;
  #loop: Reconciler | undefined;
  #isLeading = false;
  #hasDefined = false;
  #trouble = '';

  constructor(parts: ControllerParts) {
    this.#parts = parts;
    const { settings, clock, store, identity, events } = parts;
    const { lease, brake } = settings.controller;
    this.leadership = new Leadership({
      store,
      clock,
      identity,
      name: CONTROLLER_LEASE,
      timing: {
        durationMs: lease.durationSeconds * 1000,
        deadlineMs: lease.deadlineSeconds * 1000,
        retryMs: lease.retrySeconds * 1000,
      },
      onAttempt: (isLeading, error) => this.#onAttempt(isLeading, error),
    });
    this.#view = new ClusterView(parts);
    this.#brake = new Brake({ ...brake, events });
  }

  #openDuties(): Duty[] {
    const { settings, clock, store, identity, events, metrics } = this.#parts;
    const fenced = fence(store, this.leadership, (verb, kind) => metrics.writes.inc({ verb, kind }));
    const view = this.#view;
    const graceMs = settings.controller.graceSeconds * 1000;
    const common = { store: fenced, clock, events, identity };
    const departures = new Departures({
      ...common,
      graceMs,
      answerMs: settings.controller.answerSeconds * 1000,
      brake: this.#brake,
      objects: {
        Node: view.nodes.objects,
        SubnetClaim: view.claims.objects,
        Workloads: view.workloads.objects,
        nodeObjects: settings.store.type === 'kubernetes' ? () => view.nodeObjects : undefined,
      },
    });
    const reclaimer = new BlockReclaimer({
      ...common,
      index: view.index,
      nodes: () => new Set(view.nodes.objects.keys()),
      graceMs: () => settings.addresses.blocks.reclaimSeconds * 1000,
      mayTake: (gone) => this.#brake.allows('have blocks and no advert', gone.size, this.#allNodes()),
    });
    const publisher = new StatusPublisher(fenced);
    const hear = async (): Promise<void> => {
      if (this.#brake.reason !== undefined) this.#brake.believe((await findRelease(fenced)) ?? 0);
    };
    const publish = async (): Promise<void> => {
      const status = this.#summarize(departures.leaving);
      noteCluster(metrics, status);
      await publisher.publish(status);
    };
    return [
      ['definitions', () => this.#define()],
      ['brake', hear],
      ['departures', () => departures.look()],
      ['blocks', () => reclaimer.look()],
      ['status', publish],
    ];
  }

  /** Until the signal aborts and nothing is under way any more. */
  async run(): Promise<void> {
    const { clock, signal, events, settings } = this.#parts;
    const { graceSeconds } = settings.controller;
    this.#loop = startReconciler({
      clock,
      signal,
      resyncMs: Math.min(MAX_LOOK_MS, (graceSeconds * 1000) / 4),
      pass: () => this.#pass(),
      onError: (error) => events.add('error', `a pass failed: ${String(error)}`),
    });
    await Promise.all([this.leadership.run(signal), this.#loop.stopped]);
    await Promise.race([this.leadership.release().catch(() => undefined), clock.sleep(RELEASE_MS)]);
  }

  /** Why it could do nothing if it led; empty: it could. */
  notReadyReasons(): string[] {
    return this.#view.synced ? [] : ['the store has not been read yet'];
  }

  #onAttempt(isLeading: boolean, error: unknown): void {
    const { events, metrics, log, signal } = this.#parts;
    metrics.leading.set(isLeading ? 1 : 0);
    const trouble = error === undefined ? '' : toFault(error).message;
    if (trouble !== this.#trouble && trouble !== '')
      log.warn({ error: trouble }, 'the lease is out of reach');
    this.#trouble = trouble;
    if (isLeading === this.#isLeading) return;
    this.#isLeading = isLeading;
    this.#hasDefined = false;
    if (isLeading) {
      this.#duties = this.#openDuties();
      events.add('info', 'leads now');
      this.#loop?.nudge();
    } else {
      events.add(signal.aborted ? 'info' : 'warning', 'the controller does not lead any more');
      noteCluster(metrics, undefined);
    }
  }

  async #pass(): Promise<'ok'> {
    const { events, metrics } = this.#parts;
    for (const [name, work] of this.#duties) {
      // What is not there yet may be what the first duty makes.
      if (!this.leadership.isLeading || (name !== 'definitions' && !this.#view.synced)) return 'ok';
      try {
        await work();
      } catch (error) {
        if (error instanceof NotLeading) return 'ok';
        metrics.failures.inc({ duty: name });
        events.add('warning', `${name}: ${String(error)}; trying again`);
      }
    }
    return 'ok';
  }

  async #define(): Promise<void> {
    if (this.#hasDefined) return;
    await this.#parts.define?.(() => this.leadership.ensure());
    this.#hasDefined = true;
  }

  #allNodes(): number {
    return new Set([...this.#view.nodes.objects.keys(), ...this.#view.index.nodes()]).size;
  }

  #summarize(leaving: ReadonlySet<string>): ClusterStatus {
    const { identity, version, settings } = this.#parts;
    const { adverts, subnetClaims: claims, index, pools } = this.#view;
    const { subnets } = settings.network;
    const { reason: braked, gone } = this.#brake;
    return summarize({
      controller: identity,
      version,
      adverts,
      claims,
      subnets,
      index,
      pools,
      leaving,
      braked,
      gone,
    });
  }
}
