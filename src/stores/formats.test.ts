/**
 * The files' formats as releases left them (test/golden/formats): each is read by this program and, with its version
 * counted up, by the next; and this program still writes it byte for byte. Whoever changes a format gives it a new
 * version, leaves the old file where it is and adds a new one.
 */
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import type { Attachment } from '#model/attachment.ts';
import { address } from '#net/address.ts';
import { mac } from '#net/mac.ts';
import { interfaceAddress, prefix } from '#net/prefix.ts';
import { openDirectoryStore } from './directory.ts';
import { openJournal } from './journal.ts';
import { openKeep } from './last-good.ts';
import { openLedger } from './ledger.ts';
import { formatObject, parseObjects } from './object-file.ts';

const GOLDEN = new URL('../../test/golden/formats/', import.meta.url).pathname;

const POD: Attachment = {
  network: 'tartan',
  containerId: 'c0ffee',
  ifname: 'eth0',
  phase: 'ready',
  netns: '/run/netns/c0ffee',
  netnsInode: 4026532001,
  bootId: '6f1a1b3e-2f1d-4b1e-9a55-000000000000',
  configHash: '0123456789abcdef',
  wiring: 'routed',
  hostLink: 'tt0123456789a',
  mac: mac('02:00:00:00:00:07'),
  mtu: 1450,
  addresses: [interfaceAddress(address('10.244.3.7'), 32), interfaceAddress(address('fd00::7'), 128)],
  gateways: [address('169.254.1.1'), address('fe80::1')],
  routes: [{ prefix: prefix('192.0.2.0/24'), via: address('169.254.1.1'), mtu: 1400 }],
  portMappings: [
    { hostPort: 8080, containerPort: 80, protocol: 'tcp', hostIp: address('192.0.2.9') },
    { hostPort: 5353, containerPort: 53, protocol: 'udp' },
  ],
  bandwidth: { ingressRate: 1000000, ingressBurst: 80000, egressRate: 2000000, egressBurst: 160000 },
  hairpin: true,
  pod: { namespace: 'shop', name: 'web', uid: 'u-1' },
  aliases: ['web'],
  result: { cniVersion: '1.1.0', interfaces: [], ips: [], routes: [], dns: {} },
};
const GONE: Attachment = { ...POD, containerId: 'dead', phase: 'deleting', hostLink: 'tt0123456789b' };

function writeLedger(path: string): void {
  const ledger = openLedger(path);
  ledger.setMeta('paused', 'yes');
  ledger.put({ ...POD, phase: 'planned' });
  ledger.put(GONE);
  ledger.put({ ...GONE, containerId: 'forgotten' });
  ledger.put(POD);
  ledger.remove({ ...GONE, containerId: 'forgotten' });
  ledger.setMeta('last-address 10.244.3.0/24', '10.244.3.7');
  ledger.setMeta('paused', undefined);
  ledger.close();
}

const OBJECT = {
  kind: 'SubnetClaim',
  name: '10.244.7.0-24',
  value: { node: 'node-a', subnet: '10.244.7.0/24', reserved: false },
  expiresAtMs: Date.UTC(2040, 0, 2, 3, 4, 5),
  revision: 1893456000000,
} as const;

function scratch(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'ar-formats-'));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

test('the ledger is written as its version says', (t) => {
  const path = join(scratch(t), 'journal');
  writeLedger(path);
  const golden = join(GOLDEN, 'attachments-1.journal');
  if (process.env['UPDATE_GOLDEN'] !== undefined) copyFileSync(path, golden);
  assert.equal(readFileSync(path, 'utf8'), readFileSync(golden, 'utf8'));
});

test('the ledger of version 1 is read, by this program and by the next', (t) => {
  const path = join(scratch(t), 'journal');
  copyFileSync(join(GOLDEN, 'attachments-1.journal'), path);
  const ledger = openLedger(path);
  assert.deepEqual(ledger.problems, []);
  assert.deepEqual(ledger.list(), [POD, GONE]);
  assert.deepEqual([...ledger.listMeta()], [['last-address 10.244.3.0/24', '10.244.3.7']]);
  ledger.close();

  const entries = openJournal<{ op: string }>(path, { sync: 'none', version: 1 }).records;
  const next = { sync: 'none', version: 2, upgrade: (old: unknown) => ({ upgraded: old }) } as const;
  const upgraded = entries.map((old) => ({ upgraded: old }));
  assert.deepEqual(openJournal(path, next).records, upgraded);
  assert.match(readFileSync(path, 'utf8'), /^tartan-journal 2\n/);
  assert.deepEqual(openJournal(path, next).records, upgraded, 'and is of the new version from then on');
});

test('accepted manifests are written as their version says, and read', (t) => {
  const path = join(scratch(t), 'journal');
  const golden = join(GOLDEN, 'accepted-1.journal');
  const manifest = {
    source: '/etc/tartan/manifests/a.yaml',
    value: { kind: 'NetworkPolicy', metadata: { name: 'web' } },
    written: { text: 'kind: NetworkPolicy\nmetadata: { name: web }\n', line: 3 },
  };
  const keep = openKeep(path);
  keep.put('web', manifest);
  keep.put('gone', { source: 'key', value: {} });
  keep.remove('gone');
  keep.close();
  if (process.env['UPDATE_GOLDEN'] !== undefined) copyFileSync(path, golden);
  assert.equal(readFileSync(path, 'utf8'), readFileSync(golden, 'utf8'));
  copyFileSync(golden, path);
  const again = openKeep(path);
  assert.deepEqual([...again.entries()], [['web', manifest]]);
  again.close();
});

test('a ledger of a later version is refused by its name and left as it is', (t) => {
  const path = join(scratch(t), 'journal');
  const later = readFileSync(join(GOLDEN, 'attachments-1.journal'), 'utf8').replace('journal 1', 'journal 3');
  writeFileSync(path, later);
  assert.throws(() => openLedger(path), {
    code: 'io',
    message: `${path} is a journal of version 3; this program reads version 1`,
  });
  assert.equal(readFileSync(path, 'utf8'), later);
});

test('an object is written as its version says, and read', () => {
  const golden = join(GOLDEN, 'object-v1.yaml');
  const text = formatObject(OBJECT);
  if (process.env['UPDATE_GOLDEN'] !== undefined) writeFileSync(golden, text);
  assert.equal(text, readFileSync(golden, 'utf8'));
  const { objects, problems } = parseObjects(readFileSync(golden, 'utf8'));
  assert.deepEqual(problems, []);
  const [{ version: _, line: __, ...object } = assert.fail()] = objects;
  assert.deepEqual(object, OBJECT);
});

test('an object of a later version is named, and written over by nobody', async (t) => {
  const path = scratch(t);
  const file = join(path, 'state/SubnetClaim/10.244.7.0-24.yaml');
  const later = readFileSync(join(GOLDEN, 'object-v1.yaml'), 'utf8').replace(
    'tartan.dev/v1',
    'tartan.dev/v2',
  );
  mkdirSync(join(path, 'state/SubnetClaim'), { recursive: true });
  writeFileSync(file, later);
  const store = openDirectoryStore(path);
  t.after(() => store.close());
  const refused = (error: unknown): boolean => {
    const { code, problems } = error as { code: string; problems: { path: string; message: string }[] };
    assert.equal(code, 'store-malformed');
    assert.deepEqual(problems, [
      { path: `${file}:1`, message: 'apiVersion is "tartan.dev/v2"; this program reads tartan.dev/v1' },
    ]);
    return true;
  };
  await assert.rejects(store.get(OBJECT.kind, OBJECT.name), refused);
  await assert.rejects(store.put(OBJECT.kind, OBJECT.name, OBJECT.value), refused);
  await assert.rejects(store.put(OBJECT.kind, OBJECT.name, OBJECT.value, { expect: 'absent' }), refused);
  assert.deepEqual(await store.list(OBJECT.kind), []);
  assert.equal(readFileSync(file, 'utf8'), later);
});
