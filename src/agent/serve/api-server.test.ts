/** Requests with a body over a real socket: what fits its call is handed on, anything else is refused and said why. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { request, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { API_SOCKET, MAX_REQUEST } from '#api/admin.ts';
import type { OpinionRequest } from '#api/policy.ts';
import { Fault } from '#model/fault.ts';
import { type ApiHandlers, serveApi } from './api-server.ts';

const directory = mkdtempSync(join(tmpdir(), 'pd-api-'));
const socketPath = join(directory, API_SOCKET);
const given: OpinionRequest[] = [];
let server: Server;

before(async () => {
  const unused = (): never => {
    throw new Fault('internal', 'not asked here');
  };
  const calls = {
    facts: unused,
    routes: unused,
    state: unused,
    status: unused,
    resume: unused,
    support: unused,
    purge: unused,
    road: unused,
    changeRoad: unused,
    foreseeRoad: unused,
  };
  const api: ApiHandlers = {
    ...calls,
    pause: (...none: readonly unknown[]) => ({ paused: none.length === 0 }),
    policyOpinion: (asked) => {
      given.push(asked);
      return { heard: asked.flow.protocol };
    },
  };
  const text = () => ({ status: 200, body: 'text' });
  server = await serveApi(socketPath, api, { metrics: text, health: text, ready: text });
});

after(() => {
  server.close();
  rmSync(directory, { recursive: true });
});

type Answer = { readonly status: number | undefined; readonly body: string };

function ask(method: string, path: string, body?: string, type = 'application/json'): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': type };
    const asked = request({ socketPath, method, path, headers, agent: false }, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => (text += chunk.toString()));
      response.on('end', () => resolve({ status: response.statusCode, body: text }));
    });
    asked.on('error', reject);
    // In pieces: no length is announced.
    if (body !== undefined)
      for (let at = 0; at < body.length; at += 60_000) asked.write(body.slice(at, at + 60_000));
    asked.end();
  });
}

const OPINION = '/v1/policy/opinion';
const flow = { protocol: 6, source: '10.0.0.1', destination: '10.0.0.2', destinationPort: 80 };

test('a request is handed on as its schema reads it', async () => {
  const { status, body } = await ask('POST', OPINION, JSON.stringify({ flow, more: 1 }));
  assert.deepEqual([status, JSON.parse(body)], [200, { heard: 6 }]);
  assert.deepEqual(given, [{ flow }]);
});

test('what does not fit is refused, with every problem', async () => {
  const bad = JSON.stringify({ flow: { ...flow, source: 'here', destinationPort: 70_000 } });
  const wrong = await ask('POST', OPINION, bad);
  assert.equal(wrong.status, 400);
  const { code, problems } = JSON.parse(wrong.body) as { code: string; problems: { path: string }[] };
  assert.equal(code, 'request-invalid');
  assert.deepEqual(
    problems.map(({ path }) => path),
    ['flow.source', 'flow.destinationPort'],
  );
  assert.equal((await ask('POST', OPINION, '{"flow":')).status, 400);
  assert.equal((await ask('POST', OPINION)).status, 400);
  assert.equal((await ask('POST', OPINION, JSON.stringify({ flow }), 'text/plain')).status, 415);
  assert.equal((await ask('POST', OPINION, ' '.repeat(MAX_REQUEST + 1))).status, 413);
  assert.equal(given.length, 1);
});

test('calls without a handler are refused; calls without a request take none', async () => {
  assert.equal((await ask('GET', '/v1/policy/snapshot')).status, 404);
  assert.equal((await ask('GET', OPINION)).status, 404);
  assert.deepEqual(await ask('POST', '/v1/pause', 'anything'), { status: 200, body: '{"paused":true}' });
  assert.deepEqual(await ask('GET', '/healthz'), { status: 200, body: 'text' });
});
