/** When the agent's memory is collected: after its start, and between changes. */
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';
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

/** A change is in force by then, and the next one seldom there. */
const REST_MS = 8;
/** Some changes leave so much; V8 itself would collect at four times that. */
const WORTH_BYTES = 1 << 20;

let resting: NodeJS.Timeout | undefined;

/**
 * A change has been made. What it leaves is collected now that nothing waits (1 to 2 ms), and not in the middle of the change in which
 * V8 would find its young generation full.
 */
export function collectSoon(): void {
  resting ??= setTimeout(collectYoung, REST_MS).unref();
}

function collectYoung(): void {
  resting = undefined;
  const young = getHeapSpaceStatistics().find(({ space_name: name }) => name === 'new_space');
  if (young !== undefined && young.space_used_size > WORTH_BYTES)
    globalThis.gc?.({ type: 'minor', execution: 'sync' });
}
