/**
 * Work that many ask for and that costs little more for many than for one: while it runs, what is asked for gathers,
 * and one next run serves all of it.
 */
export class SharedRun<T> {
  readonly #work: (items: ReadonlySet<T>) => Promise<void>;
  readonly #gather: (waiting: () => number) => Promise<void>;
  #waiting = new Set<T>();
  #next: Promise<void> | undefined;
  #running: Promise<void> = Promise.resolve();

  /** `gather` is waited for before a run takes what has come; it may ask how much waits. */
  constructor(
    work: (items: ReadonlySet<T>) => Promise<void>,
    gather: (waiting: () => number) => Promise<void> = () => Promise.resolve(),
  ) {
    this.#work = work;
    this.#gather = gather;
  }
  /** Resolves, or rejects, with the run that serves these items. */
  ask(items: Iterable<T>): Promise<void> {
    for (const item of items) this.#waiting.add(item);
    this.#next ??= this.#afterRunning();
    return this.#next;
  }
  /** Resolves when the run that is under way now, if any, has ended, however it did. */
  async ended(): Promise<void> {
    await this.#running.catch(() => {});
  }
  async #afterRunning(): Promise<void> {
    await this.ended();
    await this.#gather(() => this.#waiting.size);
    this.#next = undefined;
    const items = this.#waiting;
    this.#waiting = new Set();
    this.#running = this.#work(items);
    await this.#running;
  }
}
