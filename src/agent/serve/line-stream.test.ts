import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type ApiHandlers, serveApi, type StreamHandlers, type TextHandlers } from './api-server.ts';
import { API_SOCKET } from '#api/admin.ts';
import { FLOWS, flowQuerySchema } from '#api/flows.ts';

type Flows = NonNullable<StreamHandlers['flows']>;

async function serve(t: TestContext, flows: Flows | undefined): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'tartan-flows-'));
  const path = join(directory, API_SOCKET);
  const server = await serveApi(path, {} as ApiHandlers, {} as TextHandlers, { flows });
  t.after(() => {
    server.close();
    rmSync(directory, { recursive: true });
  });
  return path;
}

/** The whole answer, or what has come by the time `enough` holds. */
function ask(path: string, query: unknown, enough: (seen: string) => boolean = () => false): Promise<string> {
  const body = JSON.stringify(query);
  const head = [
    `${FLOWS.method} ${FLOWS.path} HTTP/1.1`,
    'host: agent',
    'content-type: application/json',
    `content-length: ${body.length}`,
    'connection: close',
  ];
  return new Promise((resolve, reject) => {
    const socket = connect(path, () => socket.write(`${head.join('\r\n')}\r\n\r\n${body}`));
    let seen = '';
    socket.on('data', (chunk: Buffer) => {
      seen += chunk.toString();
      if (enough(seen)) socket.destroy();
    });
    socket.on('close', () => resolve(seen));
    socket.on('error', reject);
  });
}

test('a checked query, and a line for each value', async (t) => {
  const path = await serve(t, async function* (query) {
    assert.deepEqual(query, flowQuerySchema.parse({ last: 3, filter: { pod: 'web' } }));
    yield { problem: 'one' };
    yield { lost: 2, at: 'agent' };
  });
  const answer = await ask(path, { last: 3, filter: { pod: 'web' } });
  assert.match(answer, /^HTTP\/1.1 200 OK\r\ncontent-type: application\/x-ndjson\r\n/);
  assert.ok(answer.includes('{"problem":"one"}\n'));
  assert.ok(answer.includes('{"lost":2,"at":"agent"}\n'));
});

test('what is not a query is refused, and so is everything where nothing is told', async (t) => {
  const wrong = await ask(await serve(t, async function* () {}), { last: -1 });
  assert.match(wrong, /^HTTP\/1.1 400 /);
  assert.match(wrong, /"path":"last"/);
  assert.match(await ask(await serve(t, undefined), {}), /^HTTP\/1.1 404 [^]*policy\.enforce is false/);
});

test('the source is told when the reader goes, and asked only as fast as he reads', async (t) => {
  const ended = Promise.withResolvers<void>();
  let given = 0;
  const path = await serve(t, async function* (_, signal) {
    try {
      for (; !signal.aborted; given += 1) yield { problem: 'x'.repeat(10_000) };
    } finally {
      ended.resolve();
    }
  });
  const socket = connect(path, () => {
    socket.write(
      `POST ${FLOWS.path} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}`,
    );
    socket.pause();
  });
  // Until it stands still.
  for (let before = -1; ; before = given) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    if (given > 0 && given === before) break;
  }
  assert.ok(given < 1_000, `${given} lines wait for a reader who reads none`);
  socket.destroy();
  await ended.promise;
});

test('an answer breaks off when its source fails', async (t) => {
  const path = await serve(t, async function* () {
    yield { problem: 'one' };
    throw new Error('the source fails');
  });
  assert.ok(!(await ask(path, {})).endsWith('0\r\n\r\n'));
});
