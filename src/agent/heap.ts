/** The agent's heap after its start. */
import { setFlagsFromString } from 'node:v8';

/** First the work that is due when a node becomes ready. */
const DELAY_MS = 1000;

/**
 * Most of what a start has read and made is garbage when the node is ready: V8 would collect it half a minute later, and
 * look again when the heap is several times what lives. An agent stays for months, and memory on a node is for pods.
 */
export function settleHeap(): void {
  setTimeout(() => {
    setFlagsFromString('--heap-growing-percent=50');
    void globalThis.gc?.({ type: 'major', execution: 'async' });
  }, DELAY_MS).unref();
}
