import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { test } from 'node:test';
import { Leaks, liveNamespaces } from './leaks.ts';
import { Events } from '#lib/log.ts';
import type { Attachment } from '#model/attachment.ts';
import { mac } from '#net/mac.ts';

const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
const OWN = statSync('/proc/self/ns/net').ino;
const attachment = (containerId: string, netns: string, netnsInode: number): Attachment => ({
  network: 'net',
  containerId,
  ifname: 'eth0',
  phase: 'ready',
  netns,
  netnsInode,
  bootId: 'boot',
  configHash: '',
  wiring: 'routed',
  hostLink: `tt${containerId}`,
  mac: mac('02:00:00:00:00:01'),
  mtu: 1500,
  addresses: [],
  gateways: [],
  routes: [],
  portMappings: [],
});

test('a namespace is alive by its path or by a process; a leak is said once and gone when it is', () => {
  const alive = attachment('a', '/gone', OWN);
  const dead = attachment('b', '/proc/self/ns/net', 1);
  const busy = attachment('c', '/gone', 1);
  const rebooted = { ...attachment('d', '/gone', 1), bootId: 'other' };
  assert.ok(liveNamespaces([]).has(OWN));
  assert.ok(!liveNamespaces([dead, busy]).has(1));

  const events = new Events(log);
  let attachments = [alive, dead, busy, rebooted];
  const inFlight = new Set(['net/c/eth0']);
  const leaks = new Leaks({ attachments: () => attachments, bootId: 'boot', inFlight, events });
  leaks.look();
  leaks.look();
  assert.equal(leaks.count, 1);
  assert.deepEqual(
    events.list().map(({ text }) => text.split(' ')[0]),
    ['net/b/eth0'],
  );
  attachments = [alive];
  leaks.look();
  assert.equal(leaks.count, 0);
});
