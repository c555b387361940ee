/**
 * The one reconciler of the host. Sources (the node, each peer, each pod) claim items; the union is what is wanted;
 * kernel events and our own writes keep what is seen; the difference is applied. Every cause of a difference, be it a
 * restart, a lost event or a deleted device, takes this road. What always holds: nothing is removed or changed before
 * `allowRemovals`, as what a pod's link is to become may need what the node has not claimed yet; nor is anything removed when a
 * pass would remove more than the brake lets through.
 */
import { Claims, type Dissent } from './claims.ts';
import type { Logger } from '#lib/log.ts';
import { diffKeys, type Step } from '#model/diff.ts';
import { changedItem, type Item, type ItemKey, keyOf, sameItem, satisfies } from '#model/host.ts';
import type { Change, Failure, Interest, Kernel } from '#kernel/kernel.ts';
import { PORT_RULE } from '#model/numbers.ts';
import type { Settings } from '#model/settings.ts';

/** Steps applied between two turns of the event loop. */
const CHUNK = 2000;

export type ItemFailure = { readonly code: string; readonly message: string };
export type Braked = { readonly removals: number; readonly of: number };

export type HostOptions = {
  readonly kernel: Kernel;
  readonly brake: Settings['brake'];
  readonly log: Logger;
  /** Asks for a pass soon; the reconciler's nudge. */
  readonly nudge: () => void;
  /** Removes links in the background (kernel.reapLinks with what must happen afterwards). */
  readonly reap: (names: string[]) => void;
};

export class Host {
  readonly #options: HostOptions;
  readonly #claims: Claims;
  readonly #seen = new Map<ItemKey, Item>();
  readonly #dirty = new Set<ItemKey>();
  readonly failures = new Map<ItemKey, ItemFailure>();
  /** Links made a moment ago: the kernel's echo first tells them down, as they were while they were being made. */
  readonly #made = new Set<ItemKey>();
  #resync = true;
  #removals = false;
  #released = false;
  paused = false;
  braked: Braked | undefined;
  /** Two sources claim one item differently. */
  onDissent: ((dissent: Dissent) => void) | undefined;
  /** Called when a pass begins with all that is wanted; what it answers, when the pass has ended. */
  onPass: (() => (() => void) | undefined) | undefined;

  constructor(options: HostOptions) {
    this.#options = options;
    this.#claims = new Claims((dissent) => {
      options.log.error(dissent, 'two sources claim one item differently');
      this.onDissent?.(dissent);
    });
  }

  get wanted(): ReadonlyMap<ItemKey, Item> {
    return this.#claims.wanted;
  }
  get seen(): ReadonlyMap<ItemKey, Item> {
    return this.#seen;
  }
  sources(): Iterable<string> {
    return this.#claims.sources();
  }
  itemsOf(source: string): ReadonlyMap<ItemKey, Item> | undefined {
    return this.#claims.itemsOf(source);
  }

  /** Keys of a source's items that the kernel does not hold as they are wanted, by what was seen last. */
  openKeys(source: string): ItemKey[] {
    return this.#claims.keysOf(source).filter((key) => {
      const wanted = this.wanted.get(key);
      const seen = this.#seen.get(key);
      return wanted !== undefined && (seen === undefined || !satisfies(seen, wanted));
    });
  }

  /** Replaces all claims of a source; undefined withdraws it. Takes effect with the next pass. */
  set(source: string, items: Iterable<Item> | undefined): void {
    for (const key of this.#claims.set(source, items)) this.#dirty.add(key);
    if (this.#dirty.size > 0) this.#options.nudge();
  }

  /** The same at once, for the items of this source only; answers the failures. Used where somebody waits (CNI). */
  setNow(source: string, items: Iterable<Item> | undefined): Failure[] {
    const keys = new Set(this.#claims.keysOf(source));
    this.#claims.set(source, items);
    for (const key of this.#claims.keysOf(source)) keys.add(key);
    for (const key of keys) this.#dirty.delete(key);
    const failures = this.#apply(this.#withoutPodLinks(diffKeys(keys, this.wanted, this.#seen)));
    for (const { step } of failures) this.#dirty.add(step.key);
    if (failures.length > 0) this.#options.nudge();
    return failures;
  }

  /** Tells that the kernel now holds these items, without asking it: they were just made. */
  noteSeen(items: Iterable<Item>): void {
    for (const item of items) this.#seen.set(keyOf(item), item);
  }

  /** From here on what nobody claims is removed, and what differs changed: all sources have said what they want. */
  allowRemovals(): void {
    if (this.#removals) return;
    this.#removals = true;
    this.requestResync();
  }

  get removalsAllowed(): boolean {
    return this.#removals;
  }

  /** The operator agrees to the removals that the brake holds back. */
  release(): void {
    this.#released = true;
    this.paused = false;
    this.requestResync();
  }

  /** Removes everything of ours from the kernel, and claims nothing from here on. Pods' links stay. */
  purge(): Failure[] {
    this.paused = true;
    const keep = (item: Item): boolean =>
      item.kind === 'link' && (item.type === 'veth' || item.type === 'ifb');
    const steps = diffKeys(this.#seen.keys(), new Map(), this.#seen).filter(
      (step) => step.op === 'remove' && !keep(step.was),
    );
    return this.#apply(steps);
  }

  /** The operator agrees to what the next pass removes. */
  agreeOnce(): void {
    this.#released = true;
  }

  requestResync(): void {
    this.#resync = true;
    this.#options.nudge();
  }

  onChange(change: Change): void {
    if (change.type === 'resync') return this.requestResync();
    if (change.type !== 'item') return;
    const { key, seen } = change;
    if (this.#isBeingMade(key, seen)) return;
    this.#noteTold(key, seen);
    const wanted = this.wanted.get(key);
    const fits = wanted === undefined ? seen === undefined : seen !== undefined && satisfies(seen, wanted);
    if (fits) return;
    this.#dirty.add(key);
    // A link that goes (or goes down) takes its addresses, neighbours and routes along, and IPv4 routes without a word.
    if (wanted?.kind === 'link') this.#resync = true;
    this.#options.nudge();
  }

  /** What we know already is kept as it is: the echo of thousands of writes would double what is remembered. */
  #noteTold(key: ItemKey, seen: Item | undefined): void {
    const known = this.#seen.get(key);
    if (seen === undefined) this.#seen.delete(key);
    else if (known === undefined || !sameItem(known, seen)) this.#seen.set(key, seen);
  }

  /** Whether this tells of a link as it was before our own making of it was done. */
  #isBeingMade(key: ItemKey, seen: Item | undefined): boolean {
    if (!this.#made.has(key)) return false;
    if (seen?.kind === 'link' && seen.down === true) return true;
    this.#made.delete(key);
    return false;
  }

  /** One pass: observe when needed, then apply what differs. `retry` when something failed. */
  async pass(): Promise<'ok' | 'retry'> {
    if (this.paused) return 'ok';
    const passed = this.onPass?.();
    await this.#converge();
    passed?.();
    return this.failures.size === 0 ? 'ok' : 'retry';
  }

  async #converge(): Promise<void> {
    if (this.#resync) this.#observe();
    const keys = [...this.#dirty];
    this.#dirty.clear();
    const steps = this.#brake(this.#withoutPodLinks(diffKeys(keys, this.wanted, this.#seen)));
    this.#released = false;
    const open = new Set(steps.map((step) => step.key));
    for (const key of this.failures.keys()) if (!open.has(key)) this.failures.delete(key);
    for (let at = 0; at < steps.length; at += CHUNK) {
      if (at > 0) await new Promise((resolve) => setImmediate(resolve));
      this.#apply(steps.slice(at, at + CHUNK).filter((step) => this.#isCurrent(step)));
    }
    for (const key of this.failures.keys()) this.#dirty.add(key);
  }

  #observe(): void {
    this.#resync = false;
    this.#made.clear();
    const observed = this.#options.kernel.observe(this.#interest());
    for (const key of this.#seen.keys()) if (!observed.has(key)) this.#seen.delete(key);
    for (const [key, item] of observed) this.#noteTold(key, item);
    for (const key of this.#seen.keys()) this.#dirty.add(key);
    for (const key of this.wanted.keys()) this.#dirty.add(key);
    this.failures.clear();
  }

  #interest(): Interest {
    const sysctls: string[] = [];
    const foreignLinks: string[] = [];
    for (const item of this.wanted.values()) {
      if (item.kind === 'sysctl') sysctls.push(item.key);
      else if (item.kind === 'link' && item.type === 'foreign') foreignLinks.push(item.name);
    }
    return { sysctls, foreignLinks };
  }

  /** Host ends of pods are not removed here: deleting one holds the kernel for 20 ms, the reaper takes many at once. */
  #withoutPodLinks(steps: Step[]): Step[] {
    const isPodLink = (step: Step): boolean =>
      step.op === 'remove' &&
      step.was.kind === 'link' &&
      (step.was.type === 'veth' || step.was.type === 'ifb');
    const links = steps.filter(isPodLink);
    if (links.length === 0) return steps;
    if (this.#removals) this.#options.reap(links.map((step) => step.key.slice('link '.length)));
    return steps.filter((step) => !isPodLink(step));
  }

  #brake(steps: Step[]): Step[] {
    const removals = steps.filter((step) => step.op === 'remove');
    if (!this.#removals) return steps.filter((step) => step.op === 'add');
    const routes = removals.filter((step) => isCounted(step.was)).length;
    const { share, minimum } = this.#options.brake;
    const few = this.#released || routes < minimum;
    let total = 0;
    if (!few) for (const item of this.#seen.values()) if (isCounted(item)) total += 1;
    if (few || routes <= total * share) {
      this.braked = undefined;
      return steps;
    }
    if (this.braked === undefined) {
      this.#options.log.error(
        { removals: routes, of: total },
        'brake: too much would be removed; tartan resume goes on',
      );
    }
    this.braked = { removals: routes, of: total };
    for (const step of removals) this.#dirty.add(step.key);
    return steps.filter((step) => step.op !== 'remove');
  }

  /** Between planning and applying the loop may have turned: a step holds only if both its sides still stand. */
  #isCurrent(step: Step): boolean {
    const item = step.op === 'remove' ? undefined : step.item;
    const was = step.op === 'add' ? undefined : step.was;
    if (this.wanted.get(step.key) === item && this.#seen.get(step.key) === was) return true;
    this.#dirty.add(step.key);
    return false;
  }

  #apply(steps: readonly Step[]): Failure[] {
    if (steps.length === 0) return [];
    const failures = this.#options.kernel.apply(steps);
    const failed = new Set(failures.map((failure) => failure.step.key));
    for (const step of steps) if (!failed.has(step.key)) this.#noteApplied(step);
    for (const { step, code, message } of failures) {
      if (this.failures.get(step.key)?.code !== code) {
        this.#options.log.warn({ key: step.key, op: step.op, code }, message);
      }
      this.failures.set(step.key, { code, message });
    }
    return failures;
  }

  #noteApplied(step: Step): void {
    this.failures.delete(step.key);
    if (step.op === 'add' && step.item.kind === 'link') this.#made.add(step.key);
    if (step.op === 'remove') this.#seen.delete(step.key);
    else
      this.#seen.set(
        step.key,
        step.op === 'replace' ? withoutDown(changedItem(step.was, step.item)) : step.item,
      );
    // What stood on the old device went with it.
    if (step.op === 'recreate') this.requestResync();
  }
}

/** A link that was just changed is up again: `down` was only ever seen, never wanted. */
function withoutDown(item: Item): Item {
  if (item.kind !== 'link' || item.down === undefined) return item;
  const { down: _down, ...rest } = item;
  return rest;
}

/** What the brake counts: routes, but for those beside an isolated bridge, which all go when policy is switched off. */
function isCounted(item: Item): boolean {
  return item.kind === 'route' && item.table !== PORT_RULE.table;
}
