import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { peerOf, takeWaiting } from './peer.ts';

/** Two ends of a connection; the second one's stream is paused. */
async function connected(t: TestContext): Promise<{ near: Socket; far: Socket; fd: number }> {
  const directory = mkdtempSync(join(tmpdir(), 'tartan-peer-'));
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
  t.after(() => {
    server.close();
    rmSync(directory, { recursive: true });
  });
  server.listen(join(directory, 'socket'));
  await once(server, 'listening');
  const near = connect({ path: join(directory, 'socket'), allowHalfOpen: true });
  const [far] = (await once(server, 'connection')) as [Socket];
  t.after(() => [near, far].forEach((end) => end.destroy()));
  return { near, far, fd: (far as unknown as { _handle: { fd: number } })._handle.fd };
}

test('what waits is taken once; its end shows; what comes later is the stream’s', async (t) => {
  const { near, far, fd } = await connected(t);
  assert.equal(peerOf(fd)?.pid, process.pid);
  assert.deepEqual(takeWaiting(fd, 1000), { bytes: Buffer.alloc(0), ended: false });
  const said = Buffer.alloc(100_000, 'tartan');
  await new Promise((done) => near.write(said, done));
  assert.deepEqual(takeWaiting(fd, said.length), { bytes: said, ended: false });
  near.end('later');
  await once(near, 'finish');
  far.resume();
  assert.equal(String((await once(far, 'data'))[0]), 'later');

  const other = await connected(t);
  other.near.end('all of it');
  await once(other.near, 'finish');
  assert.deepEqual(takeWaiting(other.fd, 1000), { bytes: Buffer.from('all of it'), ended: true });
});

test('no more is taken than asked for, but for a piece', async (t) => {
  const { near, fd } = await connected(t);
  near.end(Buffer.alloc(190_000));
  await once(near, 'finish');
  const first = takeWaiting(fd, 10);
  assert.ok(!first.ended && first.bytes.length > 10 && first.bytes.length < 190_000);
  const rest = takeWaiting(fd, 1 << 20);
  assert.deepEqual([rest.ended, first.bytes.length + rest.bytes.length], [true, 190_000]);
});
