/** The admin API over the owner-only unix socket, and health and metrics (nothing else) over TCP when asked for. */
import { chmodSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { writeLines } from './line-stream.ts';
import {
  API,
  type ApiCall,
  type ApiRequest,
  type CallShape,
  errorAnswer,
  MAX_REQUEST,
  TEXT_PATHS,
} from '#api/admin.ts';
import { FLOWS, type FlowQuery } from '#api/flows.ts';
import type { POLICY_API } from '#api/policy.ts';
import type { FlowLine } from '#model/flow-event.ts';
import { TEXT_TYPE, type TextAnswer, serveTexts } from '#lib/text-server.ts';
import { Fault, type Problem, toFault } from '#model/fault.ts';

type PolicyCall = keyof typeof POLICY_API;
type Handler<C extends ApiCall> = (...request: ApiRequest<C>) => unknown;
/** Each is given its checked request, where its call has one. Without a handler for it, a call is refused. */
export type ApiHandlers = { readonly [C in Exclude<ApiCall, PolicyCall>]: Handler<C> } & {
  readonly [C in PolicyCall]?: Handler<C>;
};
export type TextHandlers = {
  readonly [N in keyof typeof TEXT_PATHS]: () => TextAnswer | Promise<TextAnswer>;
};

/** Answers that go on. */
export type StreamHandlers = {
  /** Undefined: there are none. */
  readonly flows?: ((query: FlowQuery, signal: AbortSignal) => AsyncIterable<FlowLine>) | undefined;
};

export async function serveApi(
  path: string,
  api: ApiHandlers,
  text: TextHandlers,
  streams: StreamHandlers = {},
): Promise<Server> {
  rmSync(path, { force: true });
  const routes = { api, text, streams };
  const server = createServer((request, response) => void route(request, response, routes));
  const before = process.umask(0o177);
  try {
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, resolve));
  } finally {
    process.umask(before);
  }
  chmodSync(path, 0o600);
  return server;
}

/** `listen` is host:port; an IPv6 host stands in brackets. */
export function serveText(listen: string, text: TextHandlers): Promise<Server> {
  const names = Object.keys(TEXT_PATHS) as (keyof typeof TEXT_PATHS)[];
  return serveTexts(listen, Object.fromEntries(names.map((name) => [TEXT_PATHS[name], text[name]])));
}

type Routes = {
  readonly api: ApiHandlers;
  readonly text: TextHandlers;
  readonly streams?: StreamHandlers;
};

async function route(request: IncomingMessage, response: ServerResponse, routes: Routes): Promise<void> {
  try {
    const path = (request.url ?? '/').split('?')[0];
    const isText = Object.values(TEXT_PATHS).some((known) => known === path);
    const isStream = path === FLOWS.path && request.method === FLOWS.method && routes.streams !== undefined;
    await (isText ? answerText : isStream ? answerFlows : answerCall)(request, response, routes);
  } catch (error) {
    // What was not read of a request must not be taken for the next one.
    if (!request.complete) response.setHeader('connection', 'close');
    request.resume();
    const status = error instanceof Refused ? error.status : 500;
    json(response, status, errorAnswer(error instanceof Refused ? error.fault : toFault(error)));
  }
}

async function answerText(
  request: IncomingMessage,
  response: ServerResponse,
  { text }: Routes,
): Promise<void> {
  request.resume();
  const path = request.url?.split('?')[0];
  const name = Object.entries(TEXT_PATHS).find(([, known]) => known === path)?.[0];
  const { status, body } = await text[name as keyof typeof TEXT_PATHS]();
  response.writeHead(status, { 'content-type': TEXT_TYPE }).end(body);
}

async function answerCall(
  request: IncomingMessage,
  response: ServerResponse,
  { api }: Routes,
): Promise<void> {
  const path = request.url?.split('?')[0];
  const calls = Object.entries(API) as [ApiCall, CallShape][];
  const [name, call] = calls.find(([, one]) => one.path === path && one.method === request.method) ?? [];
  const handler = name === undefined ? undefined : api[name];
  if (call === undefined || handler === undefined) {
    throw new Refused(404, `no such call: ${request.method} ${request.url}`);
  }
  const given = await readRequest(request, call);
  json(response, 200, await (handler as (...given: readonly unknown[]) => unknown)(...given));
}

async function answerFlows(
  request: IncomingMessage,
  response: ServerResponse,
  { streams }: Routes,
): Promise<void> {
  const flows = streams?.flows;
  if (flows === undefined) throw new Refused(404, 'this node enforces no policies: policy.enforce is false');
  const [query] = await readRequest(request, { ...FLOWS, answer: FLOWS.line });
  await writeLines(response, (signal) => flows(query as FlowQuery, signal));
}

/** A request that does not fit its call. */
class Refused extends Error {
  readonly status: number;
  readonly fault: Fault;

  constructor(status: number, message: string, problems: readonly Problem[] = []) {
    super(message);
    this.status = status;
    this.fault = new Fault('request-invalid', message, { problems });
  }
}

async function readRequest(request: IncomingMessage, { request: schema }: CallShape): Promise<unknown[]> {
  if (schema === undefined) {
    request.resume();
    return [];
  }
  const type = request.headers['content-type']?.split(';')[0]?.trim();
  if (type !== 'application/json') throw new Refused(415, `a request is application/json, not ${type}`);
  const read = schema.safeParse(parseJson(await readBody(request)));
  if (read.success) return [read.data];
  const problems = read.error.issues.map((issue) => ({ path: issue.path.join('.'), message: issue.message }));
  throw new Refused(400, 'the request is not as the call takes it', problems);
}

function readBody(request: IncomingMessage): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    request.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > MAX_REQUEST) reject(new Refused(413, `a request has at most ${MAX_REQUEST} bytes`));
      else chunks.push(chunk);
    });
    request.on('end', () => resolve(Buffer.concat(chunks).toString('utf8')));
    request.on('error', reject);
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new Refused(400, `the request is not JSON: ${String(error)}`);
  }
}

function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}
