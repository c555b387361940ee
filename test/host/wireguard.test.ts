/**
 * WireGuard devices and peers as items, with two nodes joined by a cable: what is asked for is seen (by us and by `wg`),
 * packets are sealed, keys rotate on the living device, and what somebody else changed is found and put right.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { closeSync } from 'node:fs';
import { test, type TestContext } from 'node:test';
import { openKernel } from '#kernel/linux.ts';
import { openNetns, ready } from '#kernel/netns.ts';
import { diff } from '#model/diff.ts';
import { hostState, type Item } from '#model/host.ts';
import type { Kernel } from '#kernel/kernel.ts';
import { address } from '#net/address.ts';
import { interfaceAddress, prefix } from '#net/prefix.ts';
import { whyLacking } from '../vm/features.ts';

const root = process.getuid?.() === 0 ? undefined : 'needs root';
const skip = root ?? whyLacking('wireguard') ?? false;
const NOTHING = { sysctls: [], foreignLinks: [] };
const NAMES = ['a', 'b'].map((end) => `plw${end}-${process.pid}`);
const ip = (...argv: string[]): string => execFileSync('ip', argv, { encoding: 'utf8' });
const inside = (node: number, ...argv: string[]): string => ip('netns', 'exec', NAMES[node] ?? '', ...argv);

type Key = { readonly publicKey: string; readonly privateKey: Uint8Array };

function newKey(): Key {
  const pair = generateKeyPairSync('x25519');
  const { d = '', x = '' } = pair.privateKey.export({ format: 'jwk' });
  return {
    privateKey: Buffer.from(d, 'base64url'),
    publicKey: Buffer.from(x, 'base64url').toString('base64'),
  };
}

/** What node 0 or 1 has for the other; `more` are further prefixes of the other. */
function plan(node: 0 | 1, own: Key, other: Key, more: readonly string[] = []): Item[] {
  const [mine, theirs] = node === 0 ? [1, 2] : [2, 1];
  const link = 'tartan.wg';
  const allowed = [`10.1.${theirs}.0/24`, `fd01:0:0:${theirs}::/64`, ...more].sort().map(prefix);
  return [
    { kind: 'link', type: 'wireguard', name: link, mtu: 1420, publicKey: own.publicKey, port: 51_820 + mine },
    { kind: 'address', link, address: interfaceAddress(address(`10.1.${mine}.0`), 32) },
    { kind: 'address', link, address: interfaceAddress(address(`fd01:0:0:${mine}::`), 128), nodad: true },
    {
      kind: 'wireguard-peer',
      link,
      publicKey: other.publicKey,
      endpoint: address(`192.0.2.${theirs}`),
      port: 51_820 + theirs,
      allowed,
    },
    ...allowed.map((to): Item => ({
      kind: 'route',
      type: 'unicast',
      prefix: to,
      table: 254,
      metric: 512,
      link,
    })),
  ];
}

function converge(kernel: Kernel, items: readonly Item[]): void {
  const wanted = hostState(items);
  assert.deepEqual(kernel.apply(diff(wanted, kernel.observe(NOTHING))), []);
  assert.deepEqual(diff(wanted, kernel.observe(NOTHING)), []);
}

function cable(t: TestContext): number[] {
  for (const name of NAMES) ip('netns', 'add', name);
  const fds = NAMES.map((name) => openNetns(`/run/netns/${name}`));
  t.after(() => {
    for (const fd of fds) closeSync(fd);
    for (const name of NAMES) ip('netns', 'del', name);
  });
  const [a = '', b = ''] = NAMES;
  ip('-n', a, 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', b);
  for (const [index, name] of NAMES.entries()) {
    ip('-n', name, 'addr', 'add', `192.0.2.${index + 1}/24`, 'dev', 'eth0');
    for (const link of ['lo', 'eth0']) ip('-n', name, 'link', 'set', link, 'up');
  }
  return fds;
}

const ping = (from: 0 | 1, to: string): string =>
  inside(from, 'ping', '-n', '-c', '3', '-i', '0.3', '-W', '5', to);

test('WireGuard between two nodes', { skip }, async (t) => {
  await ready;
  const [one, two, three] = [newKey(), newKey(), newKey()];
  const keys = new Map([one, two, three].map(({ publicKey, privateKey }) => [publicKey, privateKey]));
  const fds = cable(t);
  using home = openKernel((publicKey) => keys.get(publicKey));
  using left = home.within(fds[0] ?? -1);
  using right = home.within(fds[1] ?? -1);

  await t.test('devices and peers are as asked for, and packets pass in both families', () => {
    converge(left, plan(0, one, two));
    converge(right, plan(1, two, one));
    assert.match(ping(0, '10.1.2.0'), / 0% packet loss/);
    assert.match(ping(1, 'fd01:0:0:1::'), / 0% packet loss/);
    assert.equal(inside(0, 'wg', 'show', 'tartan.wg', 'public-key').trim(), one.publicKey);
    assert.match(inside(0, 'wg', 'show', 'tartan.wg', 'allowed-ips'), /10\.1\.2\.0\/24/);
  });

  await t.test('prefixes come and go', () => {
    converge(left, plan(0, one, two, ['10.9.0.0/16']));
    converge(left, plan(0, one, two));
    assert.match(ping(0, '10.1.2.0'), / 0% packet loss/);
  });

  await t.test('a new key takes the place of the old one on the living device', () => {
    const index = ip('-n', NAMES[0] ?? '', '-o', 'link', 'show', 'tartan.wg').split(':')[0];
    converge(left, plan(0, three, two));
    converge(right, plan(1, two, three));
    assert.match(ping(0, '10.1.2.0'), / 0% packet loss/);
    assert.equal(ip('-n', NAMES[0] ?? '', '-o', 'link', 'show', 'tartan.wg').split(':')[0], index);
    assert.equal(inside(1, 'wg', 'show', 'tartan.wg', 'peers').trim(), three.publicKey);
  });

  await t.test('what somebody else changed is put right: a stranger, a lost peer, another port', () => {
    const stranger = newKey().publicKey;
    inside(0, 'wg', 'set', 'tartan.wg', 'listen-port', '9', 'peer', stranger, 'allowed-ips', '10.1.2.0/24');
    inside(1, 'wg', 'set', 'tartan.wg', 'peer', three.publicKey, 'remove');
    converge(left, plan(0, three, two));
    converge(right, plan(1, two, three));
    assert.match(ping(0, '10.1.2.0'), / 0% packet loss/);
    assert.doesNotMatch(
      inside(0, 'wg', 'show', 'tartan.wg', 'peers'),
      new RegExp(stranger.slice(0, 20).replaceAll('+', String.raw`\+`)),
    );
  });

  await t.test('no item holds a private key, and without one the device is refused', () => {
    const told = JSON.stringify([...left.observe(NOTHING).values()]);
    for (const { privateKey } of [one, two, three])
      assert.ok(!told.includes(Buffer.from(privateKey).toString('base64')));
    const wanted = hostState(plan(0, newKey(), two));
    const [failure] = left.apply(diff(wanted, left.observe(NOTHING)));
    assert.equal(failure?.code, 'ENOKEY');
  });

  await t.test('all of it goes', () => {
    converge(left, []);
    assert.equal(left.observe(NOTHING).size, 0);
  });
});
