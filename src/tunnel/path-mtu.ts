/**
 * How large a datagram the path to a peer carries: Datagram Packetization Layer Path MTU Discovery (RFC 8899), as a machine
 * without clock or socket. Sizes are those of whole outer IP packets.
 *
 *            ┌────────── raise timer: the largest again ──────────┐
 *   largest ─┴─ acknowledged ──────────────────────▶ complete ────┘
 *      │ lost 3 ×, and something smaller                │ confirmation lost 3 × (tried at once when a router
 *      │ was acknowledged: search by halving ─▶ complete│ says "too big")
 *      ▼                                                ▼
 *    base ── acknowledged ──▶ largest  ◀── base ◀───────┘
 *      │ lost 3 ×
 *      ▼
 *    unreachable: base and smallest in turns, slowly, until one is acknowledged, then the largest again. The MTU stays:
 *    nothing is known of it
 *
 * Differs from the RFC in one point: the largest size is tried and used first, and until a search ends. Between nodes of a cluster it nearly always
 * fits; and what is told to senders (ICMP) they remember for ten minutes, so that no size is used which is not the final one.
 */

/** Section 5.1.2: BASE_PLPMTU; below 1280 there is no IPv6. */
export const BASE = { 4: 1200, 6: 1280 } as const;
/** MIN_PLPMTU. */
const SMALLEST = { 4: 576, 6: 1280 } as const;

export type PathMtuTimes = {
  /** PROBE_TIMER: then a probe counts as lost. */
  readonly probeMs: number;
  /** CONFIRMATION_TIMER. */
  readonly confirmMs: number;
  /** PMTU_RAISE_TIMER. */
  readonly raiseMs: number;
};
export const PATH_MTU_TIMES: PathMtuTimes = { probeMs: 1000, confirmMs: 30_000, raiseMs: 600_000 };

/** Of the time that a probe may take, what a search waits at least. */
const LEAST_WAIT = 0.25;

/** MAX_PROBES. */
const TRIES = 3;

type Phase = 'largest' | 'base' | 'search' | 'complete' | 'unreachable';
type Probe = { readonly size: number; readonly id: number; readonly tries: number; readonly sentAt: number };

export class PathMtu {
  readonly #times: PathMtuTimes;
  readonly #max: number;
  readonly #base: number;
  readonly #smallest: number;
  #phase: Phase = 'largest';
  #mtu: number;
  /** Known to fit, and the largest that may. */
  #low = 0;
  #high: number;
  #probe: Probe | undefined;
  #nextAt = 0;
  #raiseAt = Number.POSITIVE_INFINITY;
  #serial: number;
  #turn = false;
  /** What a router said; 0 when none did. */
  #told = 0;
  /** The slowest acknowledgement, in milliseconds. */
  #slowest: number | undefined;

  /**
   * `serial` starts the probes' numbers: a random 32-bit number, so that acknowledgements cannot be guessed. `known`: what was
   * in use before, and is until something else is found; absent: the largest.
   */
  constructor(
    family: 4 | 6,
    max: number,
    options: { times?: PathMtuTimes; serial?: number; known?: number } = {},
  ) {
    this.#times = options.times ?? PATH_MTU_TIMES;
    this.#serial = options.serial ?? 0;
    this.#max = this.#high = max;
    this.#mtu = Math.min(options.known ?? max, max);
    this.#smallest = Math.min(SMALLEST[family], max);
    this.#base = Math.min(BASE[family], max);
  }
  get mtu(): number {
    return this.#mtu;
  }
  get phase(): Phase {
    return this.#phase;
  }
  /** The probe to send now, or undefined. */
  tick(now: number): { readonly size: number; readonly id: number } | undefined {
    if (this.#probe !== undefined && now - this.#probe.sentAt < this.#timeoutMs) return undefined;
    const tries = this.#phase === 'unreachable' ? 1 : TRIES;
    if (this.#probe !== undefined && this.#probe.tries >= tries) this.#lost(this.#probe.size, now);
    if (this.#probe === undefined && now < this.#nextAt) return undefined;
    const { size, tries: tried } = this.#probe ?? { size: this.#nextSize(now), tries: 0 };
    this.#serial = (this.#serial + 1) >>> 0;
    this.#probe = { size, id: this.#serial, tries: tried + 1, sentAt: now };
    return { size, id: this.#serial };
  }
  /** A search among many sizes waits as long as answers have taken, with room; where none came yet, the whole time. */
  get #timeoutMs(): number {
    const { probeMs } = this.#times;
    return this.#slowest === undefined
      ? probeMs
      : Math.min(probeMs, Math.max(LEAST_WAIT * probeMs, 4 * this.#slowest));
  }
  #nextSize(now: number): number {
    if (this.#phase === 'complete' && now >= this.#raiseAt) {
      this.#phase = 'largest';
      this.#high = this.#max;
    }
    if (this.#phase === 'largest') return this.#max;
    if (this.#phase === 'search') return this.#pivot();
    if (this.#phase === 'complete') return this.#mtu;
    this.#turn = !this.#turn;
    return this.#phase === 'unreachable' && this.#turn ? this.#smallest : this.#base;
  }
  /** A router's word divides best: what it says, and one byte more. */
  #pivot(): number {
    for (const size of [this.#told, this.#told + 1]) if (size > this.#low && size <= this.#high) return size;
    return Math.ceil((this.#low + this.#high) / 2);
  }
  /** The peer says that this probe came. Late answers to earlier tries do not count. */
  acknowledge(id: number, now: number): void {
    const probe = this.#probe;
    if (probe?.id !== id) return;
    this.#probe = undefined;
    this.#nextAt = now;
    this.#slowest = Math.max(this.#slowest ?? 0, now - probe.sentAt);
    this.#low = Math.max(this.#low, probe.size);
    if (this.#phase === 'base' || this.#phase === 'unreachable') {
      // It is there, and was perhaps away when the largest was tried: once more, before anybody is told of less.
      this.#phase = 'largest';
      this.#high = this.#max;
    }
    if (this.#low >= this.#high || this.#phase === 'complete') this.#complete(now);
  }
  #complete(now: number): void {
    // A confirmation puts the raise off no further.
    if (this.#phase !== 'complete') this.#raiseAt = now + this.#times.raiseMs;
    if (this.#low === this.#max) this.#raiseAt = Number.POSITIVE_INFINITY;
    this.#phase = 'complete';
    this.#mtu = this.#low;
    this.#told = 0;
    this.#nextAt = Math.min(now + this.#times.confirmMs, this.#raiseAt);
  }
  #lost(size: number, now: number): void {
    this.#probe = undefined;
    this.#nextAt = now;
    if (this.#phase === 'base' || this.#phase === 'unreachable') {
      this.#phase = 'unreachable';
      this.#high = this.#max;
      this.#slowest = undefined;
      this.#nextAt = now + 5 * this.#times.probeMs;
      return;
    }
    const wasComplete = this.#phase === 'complete';
    // What was in use and no longer comes through proves nothing any more.
    if (wasComplete) this.#low = 0;
    this.#high = size - 1;
    this.#phase = this.#low > 0 || (wasComplete && this.#told > 0) ? 'search' : 'base';
    if (this.#low > 0 && this.#low >= this.#high) this.#complete(now);
  }
  /** This machine’s kernel refused to send a probe of this size: no use in waiting for its answer. */
  refused(size: number, now: number): void {
    if (this.#probe?.size === size) this.#lost(size, now);
  }
  /** A router says what fits. It may lie: what is in use is tried at once, and lowered only when it does not come through. */
  hint(mtu: number, now: number): void {
    if (mtu >= this.#mtu || mtu < this.#smallest || this.#phase !== 'complete') return;
    this.#told = mtu;
    this.suspect(now);
  }
  /** What is in use is perhaps too much: it is confirmed now. */
  suspect(now: number): void {
    if (this.#phase === 'complete') this.#nextAt = Math.min(this.#nextAt, now);
  }
}
