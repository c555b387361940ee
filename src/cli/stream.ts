/** Answers of the agent that go on: lines of JSON, as they come, until either side ends them. */
import { type IncomingMessage, request } from 'node:http';
import type { z } from 'zod';
import { errorSchema, faultOf } from '#api/admin.ts';
import { Fault } from '#model/fault.ts';

type Stream<T> = { readonly method: string; readonly path: string; readonly line: z.ZodType<T> };

/** No line of ours comes near. */
const MAX_LINE = 1 << 20;

/** Ends when the agent does, or the signal aborts. Throws the agent's own fault, or `agent-away` when nobody answers. */
export async function* readStream<T>(
  socketPath: string,
  { method, path, line }: Stream<T>,
  given: unknown,
  signal: AbortSignal,
): AsyncGenerator<T> {
  try {
    const response = await ask(socketPath, { method, path, given, signal });
    for await (const text of linesOf(response)) {
      if ((response.statusCode ?? 0) >= 400) throw faultOf(errorSchema.parse(JSON.parse(text)));
      yield line.parse(JSON.parse(text));
    }
  } catch (error) {
    if (signal.aborted) return;
    if (error instanceof Fault) throw error;
    throw new Fault('agent-away', `no agent answers at ${socketPath}: ${String(error)}`, { cause: error });
  }
}

type Question = {
  readonly method: string;
  readonly path: string;
  readonly given: unknown;
  readonly signal: AbortSignal;
};

function ask(socketPath: string, { method, path, given, signal }: Question): Promise<IncomingMessage> {
  const headers = { 'content-type': 'application/json' };
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath, method, path, headers, signal, agent: false }, resolve);
    asked.on('error', reject);
    asked.end(JSON.stringify(given));
  });
}

async function* linesOf(response: IncomingMessage): AsyncGenerator<string> {
  let rest = '';
  response.setEncoding('utf8');
  for await (const chunk of response as AsyncIterable<string>) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > MAX_LINE) throw new Error(`a line has more than ${MAX_LINE} characters`);
    yield* lines;
  }
  if (rest !== '') yield rest;
}
