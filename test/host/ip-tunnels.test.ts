/**
 * The roads `ipip` and `gre`: every kind of device as the kernel has it, then labs of real agents with a router between
 * two subnets. Most hosts' kernels for virtual machines lack the modules; the twin runs under QEMU.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { openKernel } from '#kernel/linux.ts';
import { openNetns, ready } from '#kernel/netns.ts';
import { diff } from '#model/diff.ts';
import { hostState, type Item, keyOf, type TunnelLink } from '#model/host.ts';
import { address } from '#net/address.ts';
import { type Lab, startLab } from '../../src/lab/lab.ts';
import { type RawSettings, tartan } from '../../src/lab/node.ts';
import { run } from '../../src/lab/process.ts';
import { whyLacking } from '../vm/features.ts';
import { assertAllReach, eventually, must } from './labs.ts';
import { PATIENCE } from './namespace.ts';
import { whyNoTartan } from './node.ts';

const root = process.getuid?.() === 0 ? undefined : 'needs root';
const skipOf = (road: 'ipip' | 'gre'): string | false => root ?? whyLacking(road) ?? false;

const FOUR = { local: address('192.0.2.1'), remote: address('192.0.2.2') };
const SIX = { local: address('2001:db8::1'), remote: address('2001:db8::2') };
const KINDS = { ipip: FOUR, sit: FOUR, ip6tnl: SIX, gre: FOUR, ip6gre: SIX } as const;

function device(type: TunnelLink['type']): TunnelLink {
  return { kind: 'link', type, name: 'pltunnel', ...KINDS[type], ttl: 63, tos: 'inherit', mtu: 1400 };
}

async function inNetns(work: (netns: number) => void): Promise<void> {
  const name = `pl-${process.pid}`;
  execFileSync('ip', ['netns', 'add', name]);
  const fd = openNetns(`/run/netns/${name}`);
  try {
    await ready;
    work(fd);
  } finally {
    closeSync(fd);
    execFileSync('ip', ['netns', 'del', name]);
  }
}

for (const type of Object.keys(KINDS) as TunnelLink['type'][]) {
  const skip = skipOf(type.includes('gre') ? 'gre' : 'ipip');
  test(`a device of kind ${type} is seen as it was asked for, and made anew when it differs`, { skip }, () =>
    inNetns((netns) => {
      using home = openKernel();
      using kernel = home.within(netns);
      const nothing = { sysctls: [], foreignLinks: [] };
      for (const item of [
        device(type),
        { ...device(type), tos: 16, ttl: 7 },
        { ...device(type), mtu: 1300 },
      ]) {
        const wanted = hostState([item]);
        assert.deepEqual(kernel.apply(diff(wanted, kernel.observe(nothing))), []);
        assert.deepEqual(diff(wanted, kernel.observe(nothing)), []);
        const seen: Item | undefined = kernel.observe(nothing).get(keyOf(item));
        assert.deepEqual({ ...seen, ...item }, seen);
      }
      assert.deepEqual(kernel.apply(diff(new Map(), kernel.observe(nothing))), []);
      assert.equal(kernel.observe(nothing).size, 0);
    }),
  );
}

/** The node's tunnels by name: the index tells a device that was made anew. */
async function tunnels(lab: Lab, node: string): Promise<Map<string, number>> {
  const links = JSON.parse(await must(lab, node, 'ip -j link')) as { ifname: string; ifindex: number }[];
  const ours = links.filter(({ ifname }) => /^tartan[0-9a-f]{9}$/.test(ifname));
  return new Map(ours.map(({ ifname, ifindex }) => [ifname, ifindex]));
}

/** Packets that were dropped because no known peer sent them. */
async function strangers(lab: Lab, node: string): Promise<number> {
  const rules = await must(lab, node, 'nft list chain inet tartan input');
  const counts = [...rules.matchAll(/saddr != @peers4 counter packets (\d+)/g)].map(([, count]) =>
    Number(count),
  );
  assert.ok(counts.length > 0, rules);
  return counts.reduce((sum, count) => sum + count, 0);
}

type Case = {
  road: 'ipip' | 'gre';
  profile: string;
  settings: () => Promise<RawSettings>;
  mtu: number;
  devices: number;
};
const NET_CONF = {
  Network: '10.244.0.0/16',
  EnableIPv6: true,
  IPv6Network: 'fd00:244::/48',
  Backend: { Type: 'ipip', DirectRouting: true },
};

/** What `tartan from-flannel` makes of it. */
async function fromFlannel(): Promise<RawSettings> {
  const directory = mkdtempSync(join(tmpdir(), 'pl-flannel-'));
  try {
    writeFileSync(join(directory, 'net-conf.json'), JSON.stringify(NET_CONF));
    const words = [...tartan(), 'from-flannel', join(directory, 'net-conf.json')];
    const { code, stdout, stderr } = await run(words);
    assert.equal(code, 0, stderr);
    return parse(stdout) as RawSettings;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const KOPEIO = { network: { ipv6: { range: 'fd00:244::/48' } }, road: { type: 'gre' } };
const CASES: readonly Case[] = [
  { road: 'ipip', profile: 'flannel', settings: fromFlannel, mtu: 1480, devices: 2 },
  { road: 'gre', profile: 'kopeio', settings: async () => KOPEIO, mtu: 1476, devices: 2 },
];

for (const { road, profile, settings, mtu, devices } of CASES) {
  const skip = skipOf(road) || (whyNoTartan() ?? false);
  test(`the road ${road}: ${profile} with real agents, two subnets and a router`, { skip }, async (t) => {
    await using lab = await startLab({
      name: `pl-${road}-${process.pid}`,
      nodes: 3,
      subnets: 2,
      profile,
      settings: await settings(),
      readyMs: 60_000 * PATIENCE,
    });
    for (const { name } of lab.nodes) await lab.addPod(name, `pod-${name}`);

    await t.test('every pod reaches every pod, in both families', () => assertAllReach(lab));

    await t.test('a device per peer that is not reached plain', async () => {
      assert.equal((await tunnels(lab, 'node1')).size, devices);
    });

    await t.test('packets of the whole MTU pass unfragmented, larger ones are refused', async () => {
      const far = lab.pods().find(({ name }) => name === 'pod-node3')?.addresses ?? [];
      for (const to of far) {
        const header = to.includes(':') ? 48 : 28;
        const ping = (size: number) =>
          lab.exec('pod-node1', `ping -n -c 2 -W 5 -M do -s ${size - header} ${to}`.split(' '));
        assert.equal((await ping(mtu)).code, 0, `${to} ${mtu}`);
        assert.notEqual((await ping(mtu + 1)).code, 0, `${to} ${mtu + 1}`);
      }
    });

    await t.test('what comes from nobody we know is dropped', async () => {
      const [node1, node2] = lab.nodes;
      assert.ok(node1 !== undefined && node2 !== undefined);
      const before = await strangers(lab, 'node1');
      const stranger = node2.addresses[4].replace(/\d+$/, '251');
      await must(lab, 'node2', `ip address add ${stranger}/32 dev lo`);
      await must(
        lab,
        'node2',
        `ip link add plevil type ${road} local ${stranger} remote ${node1.addresses[4]} ttl 9`,
      );
      await must(lab, 'node2', 'ip link set plevil up');
      await must(lab, 'node2', 'ip route add 203.0.113.9/32 dev plevil');
      await lab.exec('node2', ['ping', '-n', '-c', '2', '-W', '1', '203.0.113.9']);
      assert.ok((await strangers(lab, 'node1')) > before);
      await must(lab, 'node2', 'ip link del plevil');
    });

    await t.test('a deleted device comes back, with all that stood on it', async () => {
      const [name] = [...(await tunnels(lab, 'node1')).keys()];
      await must(lab, 'node1', `ip link del ${name}`);
      await eventually('the device is back', async () => (await tunnels(lab, 'node1')).has(name ?? ''));
      await assertAllReach(lab);
    });

    await t.test('a restarted agent leaves the devices as they are', async () => {
      const before = await tunnels(lab, 'node3');
      await lab.kill('node3');
      await assertAllReach(lab);
      await lab.start('node3');
      await assertAllReach(lab);
      assert.deepEqual(await tunnels(lab, 'node3'), before);
    });
  });
}
