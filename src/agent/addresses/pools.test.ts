import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { bootId } from '../boot.ts';
import type { Ledger } from '../pods/attachments.ts';
import { Pools } from './pools.ts';
import type { RangeSet } from '#cni/ranges.ts';
import { parseSettings } from '#config/parse.ts';
import type { Attachment } from '#model/attachment.ts';
import type { Settings } from '#model/settings.ts';
import { address } from '#net/address.ts';
import { mac } from '#net/mac.ts';
import { interfaceAddress, prefix } from '#net/prefix.ts';
import { openLedger } from '#stores/ledger.ts';

const FLANNEL = readFileSync(new URL('../../../profiles/flannel.yaml', import.meta.url), 'utf8');
const SUBNET = prefix('10.244.3.0/24');
const RANGES: readonly RangeSet[] = [
  [
    {
      subnet: prefix('10.9.0.0/24'),
      rangeStart: address('10.9.0.10'),
      rangeEnd: address('10.9.0.20'),
    },
  ],
];

function settingsOf(quarantineSeconds: number): Settings {
  const text = `apiVersion: tartan.dev/v1\nkind: Settings\nprofile: flannel\nnode: {name: n0}\n
addresses: {quarantineSeconds: ${quarantineSeconds}}\n`;
  return parseSettings([{ origin: 'test', text }], { flannel: FLANNEL }).settings;
}

type Started = { readonly pools: Pools; readonly ledger: Ledger };

/** Opens pools as an agent does at each start, on one ledger. */
function starts(t: TestContext, quarantineSeconds: number): () => Started {
  const directory = mkdtempSync(join(tmpdir(), 'ar-pools-'));
  t.after(() => rmSync(directory, { recursive: true }));
  return () => {
    const ledger = openLedger(join(directory, 'journal'));
    const pools = new Pools(settingsOf(quarantineSeconds), ledger);
    pools.setSubnets({ 4: SUBNET });
    return { pools, ledger };
  };
}

function attachment(containerId: string, ip: string, phase: Attachment['phase']): Attachment {
  return {
    network: 'net',
    containerId,
    ifname: 'eth0',
    phase,
    netns: '',
    netnsInode: 1,
    bootId: bootId(),
    configHash: '',
    wiring: 'routed',
    hostLink: 'tt00000000001',
    mac: mac('02:00:00:00:00:01'),
    mtu: 1450,
    addresses: [interfaceAddress(address(ip), 24)],
    gateways: [],
    routes: [],
    portMappings: [],
  };
}

const take = (pools: Pools, owner: string, sets: readonly RangeSet[] = []): string | undefined =>
  pools.allocate(owner, { sets }).addresses[0];

/** As ADD and DEL do it: nobody is told of an address before the ledger knows whose it is. */
function comeAndGo({ pools, ledger }: Started, pod: string, sets: readonly RangeSet[]): string {
  const taken = take(pools, `net/${pod}/eth0`, sets)?.split('/')[0] ?? '';
  ledger.put(attachment(pod, taken, 'ready'));
  ledger.put(attachment(pod, taken, 'deleting'));
  pools.release(`net/${pod}/eth0`);
  ledger.remove(attachment(pod, taken, 'deleting'));
  pools.settle([interfaceAddress(address(taken), 24)]);
  return taken;
}

for (const [what, sets] of [
  ['the subnet', []],
  ['a range', RANGES],
] as const) {
  test(`after a restart ${what} goes on behind the address handed out last`, (t) => {
    const start = starts(t, 0);
    const before = start();
    const [first, second] = [comeAndGo(before, 'a', sets), comeAndGo(before, 'b', sets)];
    assert.notEqual(first, second);
    const third = comeAndGo(start(), 'c', sets);
    assert.ok(third !== first && third !== second, `${third} comes after ${second}`);
    const fourth = comeAndGo(start(), 'd', sets);
    assert.ok(![first, second, third].includes(fourth), `${fourth} comes after ${third}`);
  });
}

test('an address asked for by name does not move the order', (t) => {
  const start = starts(t, 0);
  start().pools.allocate('net/a/eth0', { wanted: [address('10.244.3.100')] });
  assert.equal(take(start().pools, 'net/b/eth0'), '10.244.3.2/24');
});

test('an address rests over restarts until its link is gone and its quarantine is over', (t) => {
  const start = starts(t, 60);
  const { pools, ledger } = start();
  const ip = address('10.244.3.2');
  assert.equal(take(pools, 'net/a/eth0'), '10.244.3.2/24');
  ledger.put(attachment('a', ip, 'ready'));
  ledger.put(attachment('a', ip, 'deleting'));
  pools.release('net/a/eth0');
  const isResting = (now: Pools): void => {
    assert.throws(() => now.allocate('net/z/eth0', { wanted: [ip] }), { code: 'address-taken' });
    assert.equal(now.usages()[0]?.usage.quarantined, 1);
  };

  const second = start();
  assert.deepEqual(second.pools.orphans, [], 'the attachment will settle it');
  isResting(second.pools);
  second.ledger.remove(attachment('a', ip, 'deleting'));

  const third = start();
  assert.deepEqual(third.pools.orphans, [ip]);
  isResting(third.pools);
  third.pools.settleOne(ip);

  const { pools: fourth } = start();
  assert.deepEqual(fourth.orphans, []);
  assert.equal(fourth.allocate('net/z/eth0', { wanted: [ip] }).addresses[0], '10.244.3.2/24');
});

test('an attachment cut short rests from the start on, also when it is forgotten before there are pools', (t) => {
  const start = starts(t, 60);
  const ip = address('10.244.3.9');
  start().ledger.put(attachment('a', ip, 'planned'));
  const { ledger } = start();
  ledger.remove(attachment('a', ip, 'planned'));
  assert.throws(() => start().pools.allocate('net/z/eth0', { wanted: [ip] }), { code: 'address-taken' });
});

test('what one part of a request did not get is given back by every pool', (t) => {
  const { pools } = starts(t, 60)();
  const never: RangeSet = [{ subnet: prefix('10.8.0.0/30'), rangeStart: address('10.8.0.2') }];
  pools.allocate('net/a/eth0', { sets: [never] });
  assert.throws(() => pools.allocate('net/b/eth0', { sets: [...RANGES, never] }));
  assert.deepEqual(
    pools.usages().map(({ usage }) => [usage.used, usage.quarantined]),
    [
      [0, 0],
      [1, 0],
      [0, 0],
    ],
  );
  const asked = { subnet: prefix('10.9.0.0/24'), rangeStart: address('10.9.0.10') };
  assert.equal(
    pools.allocate('net/c/eth0', {
      wanted: [address('10.9.0.10')],
      sets: [[{ ...asked, rangeEnd: address('10.9.0.20') }]],
    }).addresses[0],
    '10.9.0.10/24',
  );
});
