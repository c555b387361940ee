/** Events on their way to one reader: `push` never waits, the reader gets them in order until the signal aborts. */
export type EventQueue<T> = AsyncIterable<T> & { push(event: T): void };

/** `onEnd` is called once, when the reader leaves or the signal aborts. */
export function createQueue<T>(signal: AbortSignal, onEnd: () => void): EventQueue<T> {
  let waiting: T[] = [];
  let wake: (() => void) | undefined;
  const onAbort = (): void => wake?.();
  signal.addEventListener('abort', onAbort, { once: true });

  async function* read(): AsyncGenerator<T, void> {
    try {
      while (!signal.aborted) {
        const batch = waiting;
        waiting = [];
        for (const event of batch) {
          if (signal.aborted) return;
          yield event;
        }
        if (waiting.length === 0 && !signal.aborted) await new Promise<void>((resolve) => (wake = resolve));
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
      onEnd();
    }
  }
  return {
    push(event) {
      waiting.push(event);
      wake?.();
    },
    [Symbol.asyncIterator]: read,
  };
}
