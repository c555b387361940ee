/** Texts by path over HTTP, such as metrics and health; nothing else is answered. */
import { createServer, type Server } from 'node:http';

export type TextAnswer = { readonly status: number; readonly body: string };
export type Texts = Readonly<Record<string, () => TextAnswer | Promise<TextAnswer>>>;

export const TEXT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** `listen` is host:port; an IPv6 host stands in brackets. Rejects when nothing can listen there. */
export async function serveTexts(listen: string, texts: Texts): Promise<Server> {
  const at = listen.lastIndexOf(':');
  const host = listen.slice(0, at).replace(/^\[|\]$/g, '');
  const server = createServer((request, response) => {
    request.resume();
    const path = request.url?.split('?')[0] ?? '/';
    void answer(Object.hasOwn(texts, path) ? texts[path] : undefined).then(({ status, body }) =>
      response.writeHead(status, { 'content-type': TEXT_TYPE }).end(body),
    );
  });
  await new Promise<void>((resolve, reject) =>
    server.once('error', reject).listen(Number(listen.slice(at + 1)), host, resolve),
  );
  return server;
}

async function answer(text: Texts[string] | undefined): Promise<TextAnswer> {
  try {
    return (await text?.()) ?? { status: 404, body: 'not found\n' };
  } catch (error) {
    return { status: 500, body: `${String(error)}\n` };
  }
}
