/**
 * Since when something has been missing, by this process's own clock. A sign of life, which is any text that changes, begins
 * the time anew.
 */
export class Absences {
  readonly #missing = new Map<string, { readonly sign: string; readonly sinceMs: number }>();

  /** For how long it has been missing with this very sign; ms. */
  note(key: string, sign: string, nowMs: number): number {
    const before = this.#missing.get(key);
    if (before?.sign === sign) return nowMs - before.sinceMs;
    this.#missing.set(key, { sign, sinceMs: nowMs });
    return 0;
  }

  /** All others are there again. */
  keep(keys: ReadonlySet<string>): void {
    for (const key of this.#missing.keys()) if (!keys.has(key)) this.#missing.delete(key);
  }
}
