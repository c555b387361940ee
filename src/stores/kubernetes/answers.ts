/** What the API server answers, as values or as what it says no with. */
import type { Status, WatchLine } from './messages.ts';
import { KubernetesError } from './refusal.ts';
import type { Answer } from './wire.ts';

/** Who reads an answer as it comes, of one attempt. */
export type Reader = { take(part: Buffer): void; end(): unknown };

/** An answer that was cut is none: as if the connection had ended, which it has. */
export function parseBody(body: string): unknown {
  try {
    return JSON.parse(body) as unknown;
  } catch {
    throw new Error(`not an answer of the API: ${JSON.stringify(body.slice(0, 80))}`);
  }
}

export function refusalOf({ status, headers, body }: Answer): KubernetesError {
  let told: Status = {};
  try {
    told = JSON.parse(body) as Status;
  } catch {
    // Paths that nobody serves are answered in plain text.
  }
  const seconds = Number(headers['retry-after'] ?? told.details?.retryAfterSeconds);
  const message = told.message ?? `HTTP ${status}: ${body.slice(0, 200).trim()}`;
  return new KubernetesError(status, told.reason ?? '', message, seconds > 0 ? seconds * 1000 : undefined);
}

export async function* readEvents(lines: AsyncIterable<string>): AsyncGenerator<WatchLine, void> {
  for await (const line of lines) {
    if (line === '') continue;
    const event = parseBody(line) as WatchLine;
    if (event.type !== 'ERROR') {
      yield event;
      continue;
    }
    const { code = 500, reason = '', message = 'the watch has failed' } = event.object;
    throw new KubernetesError(code, reason, message);
  }
}
