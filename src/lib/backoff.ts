/** Exponential delays with full jitter, capped. Pure: the random number is handed in (0 ≤ random < 1). */
export type Backoff = { readonly firstMs: number; readonly maxMs: number };

/** Delay before retry number `attempt` (0 is the first retry), in milliseconds. */
export function backoffMs(backoff: Backoff, attempt: number, random: number): number {
  const ceiling = Math.min(backoff.maxMs, backoff.firstMs * 2 ** Math.min(attempt, 30));
  return Math.round(ceiling / 2 + (ceiling / 2) * random);
}
