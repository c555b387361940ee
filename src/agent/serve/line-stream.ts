/** Values as lines of JSON, to a reader that may be slow or go at any time. Nothing is kept here for a slow one. */
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';

/** `lines` is asked for the next value only when the reader has taken what was before; its signal aborts when he goes. */
export async function writeLines(
  response: ServerResponse,
  lines: (signal: AbortSignal) => AsyncIterable<unknown>,
): Promise<void> {
  const gone = new AbortController();
  response.on('close', () => gone.abort());
  response.writeHead(200, { 'content-type': 'application/x-ndjson' }).flushHeaders();
  try {
    for await (const line of lines(gone.signal)) {
      const hasRoom = response.write(`${JSON.stringify(line)}\n`);
      if (!hasRoom) await once(response, 'drain', { signal: gone.signal }).catch(() => {});
      if (gone.signal.aborted) return;
    }
    response.end();
  } catch (error) {
    // A status can no longer be told: an answer that breaks off is no whole answer.
    response.destroy(error instanceof Error ? error : undefined);
  }
}
