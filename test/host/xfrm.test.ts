/**
 * States and policies of IPsec as the kernel has them. Most hosts' kernels for virtual machines lack ESP; the twin runs under
 * QEMU.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync } from 'node:fs';
import { test } from 'node:test';
import { openKernel } from '#kernel/linux.ts';
import { openNetns, ready } from '#kernel/netns.ts';
import { XFRM_CONTRACT } from '#kernel/xfrm-contract.ts';
import type { XfrmKeys } from '#kernel/xfrm.ts';
import { diff } from '#model/diff.ts';
import { hostState, keyOf, type XfrmLink, type XfrmStateItem } from '#model/host.ts';
import { address } from '#net/address.ts';
import { whyLacking } from '../vm/features.ts';

const root = process.getuid?.() === 0 ? undefined : 'needs root';
const skip = root ?? whyLacking('esp') ?? false;
const NAME = `ips-${process.pid}`;
const NOTHING = { sysctls: [], foreignLinks: [] };
const ip = (...argv: string[]): string => execFileSync('ip', ['-n', NAME, ...argv], { encoding: 'utf8' });

const bytesOf = (name: string): Buffer =>
  Buffer.concat([createHash('sha256').update(name).digest(), Buffer.alloc(4, 7)]);
/** Everybody gets a key, as often as he likes. */
const ANY_KEYS: XfrmKeys = { take: bytesOf, giveBack: () => {} };

async function inNetns(work: (netns: number) => void | Promise<void>): Promise<void> {
  execFileSync('ip', ['netns', 'add', NAME]);
  const fd = openNetns(`/run/netns/${NAME}`);
  try {
    ip('link', 'set', 'lo', 'up');
    await ready;
    await work(fd);
  } finally {
    closeSync(fd);
    execFileSync('ip', ['netns', 'del', NAME]);
  }
}

for (const [what, check] of Object.entries(XFRM_CONTRACT)) {
  test(`Linux: ${what}`, { skip }, () =>
    inNetns(async (netns) => {
      using home = openKernel(undefined, ANY_KEYS);
      using kernel = home.within(netns);
      await check(kernel);
    }),
  );
}

const device = {
  kind: 'link',
  type: 'xfrm',
  name: 'tartan.esp',
  ifId: 9,
  mtu: 1438,
} as const satisfies XfrmLink;
const state: XfrmStateItem = {
  kind: 'xfrm-state',
  source: address('192.0.2.1'),
  destination: address('192.0.2.2'),
  spi: 0x4000_0001,
  mode: 'tunnel',
  ifId: 9,
  replayWindow: 2048,
  key: 'a name',
};
const add = (item: XfrmStateItem) => [{ op: 'add', key: keyOf(item), item }] as const;

test('a device is as it was asked for, and made anew with another number', { skip }, () =>
  inNetns((netns) => {
    using home = openKernel();
    using kernel = home.within(netns);
    for (const item of [device, { ...device, mtu: 1300 }, { ...device, ifId: 10 }]) {
      const wanted = hostState([item]);
      assert.deepEqual(kernel.apply(diff(wanted, kernel.observe(NOTHING))), []);
      assert.deepEqual(diff(wanted, kernel.observe(NOTHING)), []);
    }
    assert.match(ip('-d', 'link', 'show', 'tartan.esp'), /xfrm if_id 0xa/);
  }),
);

test('what others have is neither seen nor touched, and a key is not asked for twice', { skip }, () =>
  inNetns((netns) => {
    const taken: string[] = [];
    const given: string[] = [];
    const keys: XfrmKeys = {
      take: (name) => (taken.push(name) > 1 ? undefined : bytesOf(name)),
      giveBack: (name, code) => void given.push(`${name} ${code}`),
    };
    using home = openKernel(undefined, keys);
    using kernel = home.within(netns);
    const theirs = [
      'src',
      '192.0.2.1',
      'dst',
      '192.0.2.2',
      'proto',
      'esp',
      'spi',
      '0x40000001',
      'reqid',
      '1',
    ];
    const aead = ['aead', 'rfc4106(gcm(aes))', `0x${'5a'.repeat(36)}`, '128'];
    ip('xfrm', 'state', 'add', ...theirs, 'mode', 'tunnel', ...aead);
    const [failure] = kernel.apply(add(state));
    assert.equal(failure?.code, 'EEXIST');
    assert.deepEqual(given, ['a name EEXIST']);
    assert.equal(kernel.observe(NOTHING).size, 0);
    ip('xfrm', 'state', 'delete', ...theirs.slice(0, 8));
    const [again] = kernel.apply(add(state));
    assert.equal(again?.code, 'ENOKEY', 'the second key of a name');
  }),
);

test('no item holds a key', { skip }, () =>
  inNetns((netns) => {
    using home = openKernel(undefined, ANY_KEYS);
    using kernel = home.within(netns);
    assert.deepEqual(kernel.apply(add(state)), []);
    const secret = bytesOf('a name').toString('hex');
    assert.ok(ip('xfrm', 'state').includes(secret), 'the kernel has it');
    const told = JSON.stringify([...kernel.observe(NOTHING).values()]);
    assert.ok(told.includes('1073741825') && !told.includes(secret));
  }),
);

test('a flush by somebody else is told as lost events', { skip }, () =>
  inNetns(async (netns) => {
    using home = openKernel(undefined, ANY_KEYS);
    using kernel = home.within(netns);
    const stop = new AbortController();
    const patience = setTimeout(() => stop.abort(), 30_000);
    const told: string[] = [];
    const following = (async () => {
      for await (const change of kernel.changes(stop.signal)) {
        told.push(change.type);
        if (change.type === 'resync') stop.abort();
      }
    })();
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.deepEqual(kernel.apply(add(state)), []);
    ip('xfrm', 'state', 'flush');
    await following;
    clearTimeout(patience);
    assert.ok(told.includes('resync'), told.join());
    assert.equal(kernel.observe(NOTHING).size, 0);
  }),
);
