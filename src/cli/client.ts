/** The client of the admin API: one request, one checked answer. Nothing is retried or kept open. */
import { request } from 'node:http';
import { join } from 'node:path';
import {
  API,
  API_SOCKET,
  type ApiAnswer,
  type ApiCall,
  type ApiRequest,
  errorSchema,
  faultOf,
  MAX_ANSWER,
} from '#api/admin.ts';
import { Fault } from '#model/fault.ts';

export type Client = {
  readonly socket: string;
  /** Throws the agent's own fault, or `agent-away` when nobody answers. */
  call<C extends ApiCall>(call: C, ...request: ApiRequest<C>): Promise<ApiAnswer<C>>;
  /** The body of a path that answers text, whatever the HTTP status. */
  text(path: string): Promise<{ status: number; body: string }>;
};

const TIMEOUT_MS = 10_000;

export function connectAgent(runDirectory: string): Client {
  const socket = join(runDirectory, API_SOCKET);
  const text = (path: string): Promise<Answer> => ask(socket, { method: 'GET', path });
  return {
    socket,
    text,
    call: async (call, ...request) => {
      const { method, path, answer } = API[call];
      const [given]: readonly unknown[] = request;
      const { status, body } = await ask(socket, { method, path, given });
      const value = parseBody(socket, body);
      if (status < 400) return answer.parse(value) as ApiAnswer<typeof call>;
      const error = errorSchema.safeParse(value);
      throw error.success
        ? faultOf(error.data)
        : new Fault('internal', `${socket} answered ${status}: ${body.slice(0, 200)}`);
    },
  };
}

/** For what can be done without an agent: undefined when none answers, other faults are thrown. */
export function unlessAway(error: unknown): undefined {
  if (error instanceof Fault && error.code === 'agent-away') return undefined;
  throw error;
}

type Answer = { status: number; body: string };

type Question = { readonly method: 'GET' | 'POST'; readonly path: string; readonly given?: unknown };

function ask(socketPath: string, { method, path, given }: Question): Promise<Answer> {
  const headers = given === undefined ? {} : { 'content-type': 'application/json' };
  const options = { socketPath, method, path, headers, timeout: TIMEOUT_MS, agent: false };
  return new Promise((resolve, reject) => {
    const away = (cause: Error): void =>
      reject(new Fault('agent-away', `no agent answers at ${socketPath}: ${cause.message}`, { cause }));
    const asked = request(options, (response) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > MAX_ANSWER) response.destroy(new Error(`its answer has more than ${MAX_ANSWER} bytes`));
        else chunks.push(chunk);
      });
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString('utf8') }),
      );
      response.on('error', away);
    });
    asked.on('timeout', () => asked.destroy(new Error(`no answer within ${TIMEOUT_MS / 1000} s`)));
    asked.on('error', away);
    asked.end(given === undefined ? undefined : JSON.stringify(given));
  });
}

function parseBody(socket: string, body: string): unknown {
  try {
    return JSON.parse(body) as unknown;
  } catch (cause) {
    throw new Fault('internal', `${socket} answered something that is not JSON`, { cause });
  }
}
