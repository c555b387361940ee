/**
 * One watch out of several sources, one after the other: relays, or the store itself. A new source may be behind the last one
 * by what is on its way to it. So until it has told of something as new as the newest that was told before, or for
 * `holdMs` at most, nothing goes back to an earlier version and nothing that it lacks is taken for gone.
 */
import type { Clock } from '#lib/clock.ts';
import { isEarlier } from '../kubernetes/messages.ts';
import type { StoreEvent, Stored, Version } from '../store.ts';

export type PassageOptions = {
  readonly push: (event: StoreEvent) => void;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly holdMs: number;
};

type Hold = {
  /** The newest that was told before. */
  readonly until: Version | undefined;
  /** What the source has, and what is newer than that. */
  readonly aside: Map<string, Stored>;
};

export class Passage {
  readonly #options: PassageOptions;
  /** What the reader has been told. */
  readonly #objects = new Map<string, Stored>();
  /** Names that were repeated in this gap; undefined outside of one. */
  #repeated: Set<string> | undefined = new Set();
  #isBegun = false;
  /** The newest of all, and of this source. */
  #newest: Version | undefined;
  #reached: Version | undefined;
  #hold: Hold | undefined;
  #isSourceSynced = false;

  constructor(options: PassageOptions) {
    this.#options = options;
  }
  /** Versions by name. */
  known(): Record<string, Version> {
    return Object.fromEntries(Array.from(this.#objects.values(), ({ name, version }) => [name, version]));
  }
  object(name: string): Stored | undefined {
    return this.#objects.get(name);
  }

  /** What comes from now on is from another source. */
  begin(): void {
    if (!this.#isBegun) return;
    this.#options.push({ type: 'gap', reason: 'the watch goes on elsewhere' });
    this.#reached = undefined;
    this.#isSourceSynced = false;
    this.#hold = { until: this.#newest, aside: new Map() };
    this.#repeated = new Set();
  }
  /** Nothing comes for now. */
  lose(reason: string): void {
    if (this.#isBegun && this.#repeated === undefined) this.take({ type: 'gap', reason });
  }
  /** What was lost is as it was: the source has told of all that changed meanwhile. */
  resume(): void {
    for (const object of this.#objects.values()) this.take({ type: 'put', object });
    this.take({ type: 'synced' });
  }

  take(event: StoreEvent): void {
    this.#isBegun = true;
    if (event.type === 'put') this.#put(event.object);
    else if (event.type === 'removed') this.#remove(event.name);
    else if (event.type === 'gap') this.#gap(event);
    else if (event.type === 'synced') this.#sync();
    else this.#options.push(event);
  }

  #put(object: Stored): void {
    const { name, version } = object;
    if (isNewer(version, this.#reached)) this.#reached = version;
    const isBack = this.#hold !== undefined && isNewer(this.#objects.get(name)?.version, version);
    if (isBack) this.#hold?.aside.set(name, object);
    else this.#tell(object);
    this.#settle();
  }
  #tell(object: Stored): void {
    const { name, version } = object;
    this.#hold?.aside.delete(name);
    this.#repeated?.add(name);
    if (isNewer(version, this.#newest)) this.#newest = version;
    this.#objects.set(name, object);
    this.#options.push({ type: 'put', object });
  }
  #remove(name: string): void {
    this.#hold?.aside.delete(name);
    this.#repeated?.delete(name);
    if (this.#objects.delete(name)) this.#options.push({ type: 'removed', name });
  }
  #gap(event: Extract<StoreEvent, { readonly type: 'gap' }>): void {
    this.#repeated = new Set();
    this.#isSourceSynced = false;
    if (event.isLoss === true) {
      // An earlier state is what is true now.
      this.#objects.clear();
      [this.#newest, this.#hold] = [undefined, undefined];
    }
    this.#options.push(event);
  }

  #sync(): void {
    this.#isSourceSynced = true;
    if (this.#hold === undefined) return this.#close();
    this.#settle();
    if (this.#hold !== undefined) void this.#wait(this.#hold);
  }
  async #wait(hold: Hold): Promise<void> {
    const { clock, holdMs, signal } = this.#options;
    await clock.sleep(holdMs, signal);
    if (this.#hold === hold && this.#isSourceSynced && !signal.aborted) this.#release(hold);
  }
  #settle(): void {
    const hold = this.#hold;
    const isBehind = hold?.until !== undefined && isNewer(hold.until, this.#reached);
    if (hold !== undefined && this.#isSourceSynced && !isBehind) this.#release(hold);
  }
  #release({ aside }: Hold): void {
    this.#hold = undefined;
    for (const object of aside.values()) this.#tell(object);
    this.#close();
  }
  #close(): void {
    const repeated = this.#repeated;
    this.#repeated = undefined;
    if (repeated !== undefined)
      for (const name of this.#objects.keys()) if (!repeated.has(name)) this.#objects.delete(name);
    this.#options.push({ type: 'synced' });
  }
}

function isNewer(version: Version | undefined, than: Version | undefined): boolean {
  return version !== undefined && (than === undefined || isEarlier(than, version));
}
