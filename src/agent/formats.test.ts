/** As src/stores/formats.test.ts, for the files of the state directory and the spool. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { drainSpool } from './serve/cni-server.ts';
import { openMetrics } from './metrics.ts';
import { readNodeFile, writeNodeFile } from './node-file.ts';
import { SysctlMemory } from './host/sysctl-memory.ts';
import { decodeMessage, encodeMessage, type Message } from '#cni/message.ts';
import { FakeKernel } from '#kernel/fake.ts';
import { keyOf, type SysctlItem } from '#model/host.ts';
import { prefix } from '#net/prefix.ts';

const GOLDEN = new URL('../../test/golden/formats/', import.meta.url).pathname;
const SUBNETS = { 4: prefix('10.244.3.0/24'), 6: prefix('fd00:244:0:3::/64') };
const FORWARD: SysctlItem = { kind: 'sysctl', key: 'net/ipv4/ip_forward', value: '1' };
const MESSAGE: Message = {
  env: { CNI_COMMAND: 'DEL', CNI_CONTAINERID: 'c0ffee', CNI_IFNAME: 'eth0', CNI_PATH: '/opt/cni/bin' },
  stdin: '{"cniVersion":"1.1.0","name":"tartan","type":"tartan-cni"}',
};
const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

function scratch(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'ar-formats-'));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

function remember(state: string): void {
  new SysctlMemory(state, () => '0')
    .watch(new FakeKernel())
    .apply([{ op: 'add', key: keyOf(FORWARD), item: FORWARD }]);
}

/** Each: file, its golden copy, how it is written, what is read from it. */
const FILES = [
  ['node.json', 'node-1.json', (state: string) => writeNodeFile(state, SUBNETS), readNodeFile, SUBNETS],
  [
    'sysctls.json',
    'sysctls-1.json',
    remember,
    (state: string) => [...new SysctlMemory(state, () => undefined).list()],
    [[FORWARD.key, '0']],
  ],
] as const;

for (const [name, golden, write, read, value] of FILES) {
  test(`${name}: written as its version says, read, and refused when it is of a later one`, (t) => {
    const state = scratch(t);
    write(state);
    const [file, copy] = [join(state, name), join(GOLDEN, golden)];
    if (process.env['UPDATE_GOLDEN'] !== undefined) writeFileSync(copy, readFileSync(file));
    const text = readFileSync(copy, 'utf8');
    assert.equal(readFileSync(file, 'utf8'), text);
    assert.deepEqual(read(state), value);
    const later = text.replace('"format":1', '"format":7');
    writeFileSync(file, later);
    const message = `${file} is of format 7; this program reads 1`;
    assert.throws(() => read(state), { code: 'io', message });
    assert.equal(readFileSync(file, 'utf8'), later);
  });
}

test('a spooled DEL is written as its version says, and of another version it is set aside', async (t) => {
  const copy = join(GOLDEN, 'spool-1.del');
  if (process.env['UPDATE_GOLDEN'] !== undefined) writeFileSync(copy, encodeMessage(MESSAGE));
  const bytes = readFileSync(copy);
  assert.deepEqual(Buffer.from(encodeMessage(MESSAGE)), bytes);
  const { env, stdin } = decodeMessage(bytes);
  assert.deepEqual({ env: { ...env }, stdin }, { ...MESSAGE, env: { TARTAN_PROTOCOL: '1', ...MESSAGE.env } });

  const run = scratch(t);
  mkdirSync(join(run, 'spool'));
  const later = Buffer.from(bytes.toString('latin1').replace('PROTOCOL=1', 'PROTOCOL=2'), 'latin1');
  writeFileSync(join(run, 'spool/1.del'), later);
  writeFileSync(join(run, 'spool/2.del'), bytes);
  const done: string[] = [];
  const handle = async (message: Message): Promise<string> => {
    done.push(message.env['CNI_CONTAINERID'] ?? '');
    return '';
  };
  const versionOf = () => '1.1.0' as const;
  const options = { path: join(run, 'cni.sock'), handle, versionOf, log, metrics: openMetrics('n0') };
  for (let round = 0; round < 2; round += 1) await drainSpool(options);
  assert.deepEqual(done, ['c0ffee']);
  assert.deepEqual(readdirSync(join(run, 'spool')), ['1.del.unread']);
  assert.deepEqual(readFileSync(join(run, 'spool/1.del.unread')), later);
});
