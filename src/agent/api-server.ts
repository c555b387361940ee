/** The admin API over the owner-only unix socket, and health and metrics (nothing else) over TCP when asked for. */
import { chmodSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { API, type ApiCall, errorAnswer, TEXT_PATHS } from '#api/admin.ts';
import { Fault, toFault } from '#model/fault.ts';

export type ApiHandlers = { readonly [C in ApiCall]: () => unknown };
export type TextAnswer = { readonly status: number; readonly body: string };
export type TextHandlers = {
  readonly [N in keyof typeof TEXT_PATHS]: () => TextAnswer | Promise<TextAnswer>;
};

export async function serveApi(path: string, api: ApiHandlers, text: TextHandlers): Promise<Server> {
  rmSync(path, { force: true });
  const server = createServer((request, response) => void route(request, response, { api, text }));
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
export async function serveText(listen: string, text: TextHandlers): Promise<Server> {
  const at = listen.lastIndexOf(':');
  const host = listen.slice(0, at).replace(/^\[|\]$/g, '');
  const server = createServer((request, response) => void route(request, response, { text }));
  await new Promise<void>((resolve, reject) =>
    server.once('error', reject).listen(Number(listen.slice(at + 1)), host, resolve),
  );
  return server;
}

type Routes = { readonly api?: ApiHandlers; readonly text: TextHandlers };

async function route(request: IncomingMessage, response: ServerResponse, routes: Routes): Promise<void> {
  request.resume();
  const path = (request.url ?? '/').split('?')[0];
  try {
    const textName = Object.entries(TEXT_PATHS).find(([, known]) => known === path)?.[0];
    if (textName !== undefined) {
      const { status, body } = await routes.text[textName as keyof typeof TEXT_PATHS]();
      response.writeHead(status, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }).end(body);
      return;
    }
    const call = Object.entries(API).find(
      ([, one]) => one.path === path && one.method === request.method,
    )?.[0];
    if (call === undefined || routes.api === undefined) return json(response, 404, notFound(request));
    json(response, 200, await routes.api[call as ApiCall]());
  } catch (error) {
    json(response, 500, errorAnswer(toFault(error)));
  }
}

function notFound(request: IncomingMessage): unknown {
  return errorAnswer(new Fault('internal', `no such call: ${request.method} ${request.url}`));
}

function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}
