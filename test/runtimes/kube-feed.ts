/**
 * The API server as far as kube-proxy needs one: `node kube-feed.ts FILE PORT` answers LIST, GET and WATCH of the
 * objects in FILE over HTTP on 127.0.0.1, in whatever version of their group is asked for. They never change, so a
 * watch stays open and silent.
 */
import { readFileSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';

type Resource = { readonly kind: string; readonly metadata: { readonly name: string } };

const KINDS: Readonly<Record<string, string>> = {
  nodes: 'Node',
  services: 'Service',
  endpoints: 'Endpoints',
  endpointslices: 'EndpointSlice',
};
/** /api/v1/KINDS or /apis/GROUP/VERSION/KINDS, with /NAME for one object. */
const PATH = /^\/(?:api|apis)\/((?:[a-z0-9.]+\/)?v\w+)\/([a-z]+)(?:\/([a-z0-9.-]+))?$/;

const [file = '', port = ''] = process.argv.slice(2);
const resources = JSON.parse(readFileSync(file, 'utf8')) as Resource[];

function send(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://feed');
  const [, apiVersion = '', plural = '', name] = PATH.exec(pathname) ?? [];
  const kind = KINDS[plural];
  const all = resources.filter((each) => each.kind === kind).map((each) => ({ ...each, apiVersion }));
  const found = all.find((each) => each.metadata.name === name);
  if (kind === undefined || (name !== undefined && found === undefined))
    send(response, 404, { apiVersion: 'v1', kind: 'Status', status: 'Failure', code: 404 });
  else if (searchParams.has('watch')) {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
  } else
    send(
      response,
      200,
      found ?? { apiVersion, kind: `${kind}List`, metadata: { resourceVersion: '1' }, items: all },
    );
}).listen(Number(port), '127.0.0.1', () => console.log('ready'));
