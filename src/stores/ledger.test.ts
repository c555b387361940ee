import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { mac } from '#net/mac.ts';
import type { Attachment } from '#model/attachment.ts';
import { openLedger } from './ledger.ts';

function scratch(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'tartan-ledger-'));
  t.after(() => rmSync(path, { recursive: true }));
  return join(path, 'ledger');
}
const attachment = (containerId: string, more: Partial<Attachment> = {}): Attachment => ({
  network: 'net',
  containerId,
  ifname: 'eth0',
  phase: 'planned',
  netns: `/run/netns/${containerId}`,
  netnsInode: 7,
  bootId: 'now',
  configHash: '',
  wiring: 'routed',
  hostLink: `tt${containerId}`,
  mac: mac('02:00:00:00:00:01'),
  mtu: 1450,
  addresses: [],
  gateways: [],
  routes: [],
  portMappings: [],
  ...more,
});

test('what was put and removed is so after a restart', (t) => {
  const path = scratch(t);
  const ledger = openLedger(path);
  for (const id of ['a', 'b', 'c']) ledger.put(attachment(id));
  ledger.put(attachment('a', { phase: 'ready' }));
  ledger.remove(attachment('b'));
  ledger.remove(attachment('never'));
  ledger.setMeta('net.ipv4.ip_forward', '0');
  ledger.setMeta('x', '1');
  ledger.setMeta('x', undefined);
  ledger.close();
  const again = openLedger(path);
  assert.deepEqual(again.list(), [attachment('a', { phase: 'ready' }), attachment('c')]);
  assert.deepEqual(again.get({ network: 'net', containerId: 'c', ifname: 'eth0' }), attachment('c'));
  assert.deepEqual([...again.listMeta()], [['net.ipv4.ip_forward', '0']]);
  assert.equal(again.getMeta('x'), undefined);
  again.close();
});

test('what is noted is known at once, and in the file with the next change', (t) => {
  const path = scratch(t);
  const lookAgain = (): Map<string, string> => {
    const seen = openLedger(path);
    seen.close();
    return new Map(seen.listMeta());
  };
  const ledger = openLedger(path);
  ledger.noteMeta('last', '1');
  ledger.noteMeta('last', '2');
  assert.equal(ledger.getMeta('last'), '2');
  assert.equal(lookAgain().size, 0);
  ledger.put(attachment('a'));
  assert.deepEqual([...lookAgain()], [['last', '2']]);
  ledger.put(attachment('b'));
  ledger.close();
  assert.equal(readFileSync(path, 'utf8').split('\n').length, 1 + 3 + 1, 'header, note, two entries');
});

test('the file stays small and is rewritten without loss', (t) => {
  const path = scratch(t);
  const ledger = openLedger(path);
  ledger.setMeta('kept', 'yes');
  ledger.put(attachment('kept'));
  for (let n = 0; n < 1500; n += 1) {
    ledger.put(attachment(`p${n}`));
    ledger.remove(attachment(`p${n}`));
  }
  ledger.close();
  assert.ok(readFileSync(path, 'utf8').split('\n').length <= 1002);
  const again = openLedger(path);
  assert.deepEqual([again.list(), again.getMeta('kept')], [[attachment('kept')], 'yes']);
  again.close();
});
