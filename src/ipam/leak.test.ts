import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mac } from '#net/mac.ts';
import { type Attachment, attachmentId } from '#model/attachment.ts';
import { findLeaks, type LeakQuestion } from './leak.ts';

const attachment = (containerId: string, more: Partial<Attachment> = {}): Attachment => ({
  network: 'net',
  containerId,
  ifname: 'eth0',
  phase: 'ready',
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
const ask = (attachments: Attachment[], more: Partial<LeakQuestion> = {}): string[] =>
  findLeaks({ attachments, bootId: 'now', inFlight: new Set(), ...more }).map(
    ({ attachment, reason }) => `${attachment.containerId} ${reason}`,
  );

test('each reason, the strongest first', () => {
  const all = [
    attachment('live'),
    attachment('gone', { netnsInode: 8 }),
    attachment('old', { bootId: 'before', phase: 'planned', netnsInode: 8 }),
    attachment('torn', { phase: 'planned' }),
    attachment('dying', { phase: 'deleting' }),
  ];
  const namespaces = new Set([7]);
  const expected = ['gone namespace-gone', 'old rebooted', 'torn unfinished', 'dying unfinished'];
  assert.deepEqual(ask(all, { namespaces }), expected);
  assert.deepEqual(ask(all), expected.slice(1), 'unknown namespaces are not missing ones');
  assert.deepEqual(ask(all, { namespaces, inFlight: new Set(all.map(attachmentId)) }), []);
});

test('GC looks at its own network only', () => {
  const all = [attachment('a'), attachment('b'), attachment('c', { network: 'other' })];
  const gc = {
    network: 'net',
    valid: [
      { containerId: 'a', ifname: 'eth0' },
      { containerId: 'b', ifname: 'eth1' },
    ],
  };
  assert.deepEqual(ask(all, { gc }), ['b not-valid']);
  assert.deepEqual(ask(all, { gc: { network: 'net', valid: [] } }), ['a not-valid', 'b not-valid']);
});
