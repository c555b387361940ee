/** What the workers count, in memory that they share with the main thread: a row per peer, row 0 for what has no peer. */
export const COUNTERS = [
  'sentPackets',
  'sentBytes',
  'receivedPackets',
  'receivedBytes',
  /** Datagrams sealed with the current key. */
  'sealed',
  'tooBig',
  'unroutable',
  'noSession',
  'refusedByUdp',
  'refusedByTun',
  'malformed',
  'unknownPeer',
  'unknownSession',
  'replayed',
  'unauthentic',
  'foreignSource',
] as const;

export type Counter = (typeof COUNTERS)[number];

/** Rows are owned by nobody: each column is written by one thread only. */
export class Counters {
  readonly shared: SharedArrayBuffer;
  readonly #cells: Float64Array;

  /** On `shared`, or for so many rows. */
  constructor(from: SharedArrayBuffer | number) {
    this.shared = typeof from === 'number' ? new SharedArrayBuffer(from * COUNTERS.length * 8) : from;
    this.#cells = new Float64Array(this.shared);
  }
  add(row: number, counter: Counter, by = 1): void {
    const at = row * COUNTERS.length + INDEX[counter];
    this.#cells[at] = (this.#cells[at] ?? 0) + by;
  }
  set(row: number, counter: Counter, value: number): void {
    this.#cells[row * COUNTERS.length + INDEX[counter]] = value;
  }
  get(row: number, counter: Counter): number {
    return this.#cells[row * COUNTERS.length + INDEX[counter]] ?? 0;
  }
  clear(row: number): void {
    this.#cells.fill(0, row * COUNTERS.length, (row + 1) * COUNTERS.length);
  }
}

const INDEX = Object.fromEntries(COUNTERS.map((name, index) => [name, index])) as Record<Counter, number>;
