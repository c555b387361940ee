/** How often something may be done. */
/** A token bucket in whole tokens: so many a second, and no more at once. */
export function rateLimit(perSecond: number, now: () => number = () => performance.now()): () => boolean {
  let [tokens, filledAt] = [perSecond, now()];
  return () => {
    const at = now();
    tokens = Math.min(perSecond, tokens + ((at - filledAt) / 1000) * perSecond);
    filledAt = at;
    if (tokens < 1) return false;
    tokens -= 1;
    return true;
  };
}
