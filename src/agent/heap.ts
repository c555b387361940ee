/** The agent's memory after its start. */
import { setFlagsFromString } from 'node:v8';
import { trimMemory } from '#kernel/malloc.ts';

/** First the work that is due when a node becomes ready. */
const DELAY_MS = 1000;

let due: NodeJS.Timeout | undefined;

/**
 * Most of what a start has read and made is garbage when the node is ready: V8 would collect it half a minute later, and
 * look again when the heap is several times what lives. An agent stays for months, and memory on a node is for pods. What
 * is asked for again before it is done is done once.
 */
export function settleHeap(): void {
  clearTimeout(due);
  due = setTimeout(settle, DELAY_MS).unref();
}

function settle(): void {
  setFlagsFromString('--heap-growing-percent=50');
  // Another flavor would leave the pages that it empties to V8, for later: as much again as what lives.
  globalThis.gc?.({ type: 'major', execution: 'sync', flavor: 'last-resort' });
  trimMemory();
}
