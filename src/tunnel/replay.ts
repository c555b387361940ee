/**
 * Which counters were seen: RFC 6479 (the algorithm of WireGuard), so that no datagram is taken twice while those that
 * overtook each other still are. Ask `allows` before the tag is checked, call `accept` only after.
 */
const WORD_BITS = 32;
/** A power of two. One word is always being cleared, so the window has one word less: 8160 datagrams. */
const WORDS = 256;
export const WINDOW = (WORDS - 1) * WORD_BITS;

export class ReplayWindow {
  readonly #seen = new Uint32Array(WORDS);
  #highest: number;

  /** `highest`: it and all below it count as seen. */
  constructor(highest = -1) {
    this.#highest = highest;
    if (highest < 0) return;
    this.#seen.fill(0xffff_ffff);
    this.#seen[Math.floor(highest / WORD_BITS) % WORDS] = (2 << (highest % WORD_BITS)) - 1;
  }
  /** The highest counter accepted; −1 before the first. */
  get highest(): number {
    return this.#highest;
  }
  /** Whether the counter is one (a safe integer, not NaN), new, and not too old. */
  allows(counter: number): boolean {
    if (!(counter >= 0)) return false;
    if (counter > this.#highest) return true;
    if (counter < this.#highest - WINDOW + 1) return false;
    const word = Math.floor(counter / WORD_BITS) % WORDS;
    return ((this.#seen[word] ?? 0) & (1 << (counter % WORD_BITS))) === 0;
  }
  /** Only a counter that `allows` said yes to. */
  accept(counter: number): void {
    const index = Math.floor(counter / WORD_BITS);
    if (counter > this.#highest) {
      const last = Math.floor(this.#highest / WORD_BITS);
      const skipped = Math.min(index - last, WORDS);
      for (let next = 1; next <= skipped; next += 1) this.#seen[(last + next) % WORDS] = 0;
      this.#highest = counter;
    }
    const word = index % WORDS;
    this.#seen[word] = (this.#seen[word] ?? 0) | (1 << (counter % WORD_BITS));
  }
}
