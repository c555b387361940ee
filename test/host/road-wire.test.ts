/**
 * Every tunnel over an underlay of IPv4 alone and of IPv6 alone, with a router between: what fits, what is too big, and
 * who is let in. The kernels of many hosts lack some roads; the twin runs under QEMU, for `fou` alone to be short.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { Family } from '#net/address.ts';
import { FAMILIES } from '#net/address.ts';
import { families } from '#net/per-family.ts';
import { type FeatureName, whyLacking } from '../vm/features.ts';
import { PATIENCE, waitFor, whyNoKernel } from './namespace.ts';
import { makeWire, type Side, SIDES, type Wire } from './road-wire.ts';

type Case = {
  readonly road: string;
  /** Absent: every kernel that is supported has it. */ readonly needs?: FeatureName;
  readonly profile: string;
  readonly overhead: readonly [number, number];
};
const CASES: readonly Case[] = [
  { road: 'vxlan', profile: 'canal', overhead: [50, 70] },
  { road: 'layer2', profile: 'kopeio', overhead: [50, 70] },
  { road: 'ipip', needs: 'ipip', profile: 'canal', overhead: [20, 40] },
  { road: 'gre', needs: 'gre', profile: 'kopeio', overhead: [24, 44] },
  { road: 'fou', needs: 'fou', profile: 'canal', overhead: [32, 52] },
];

/** More than any road carries in one packet. */
const LARGE = 'x'.repeat(300_000);
const directory = mkdtempSync(join(tmpdir(), 'l2-wire-'));
writeFileSync(join(directory, 'large'), LARGE);
after(() => rmSync(directory, { recursive: true }));

const other = (side: Side): Side => (side === 'a' ? 'b' : 'a');
/** IP and ICMP headers. */
const HEADERS = { 4: 28, 6: 48 } as const;

type To = { readonly family: Family; readonly bytes: number };

/** An unfragmented packet of so many bytes from the one pod to the other. */
async function pings(wire: Wire, from: Side, to: To, seconds = PATIENCE): Promise<boolean> {
  const address = wire.nodes[other(from)].addresses[to.family] ?? '';
  const size = String(to.bytes - HEADERS[to.family]);
  const words = ['ping', '-n', '-q', '-c', '1', '-W', String(seconds), '-M', 'do', '-s', size, address];
  return (await wire.nodes[from].pod.run(words)).code === 0;
}

/** Until it does: the first packets may be spent on finding neighbours and sizes. */
const reaches = (wire: Wire, from: Side, to: To): Promise<boolean> =>
  waitFor(`${to.bytes} bytes from ${from} by IPv${to.family}`, () => pings(wire, from, to));

async function strangers(wire: Wire, side: Side): Promise<number> {
  const rules = await wire.nodes[side].netns.must(['nft', 'list', 'chain', 'inet', 'tartan', 'input']);
  const counts = [...rules.matchAll(/saddr != @peers\d counter packets (\d+)/g)].map(([, count]) =>
    Number(count),
  );
  assert.ok(counts.length > 0, rules);
  return counts.reduce((sum, count) => sum + count, 0);
}

async function fetches(wire: Wire, family: Family): Promise<boolean> {
  const address = wire.nodes.b.addresses[family] ?? '';
  const url = `http://${family === 6 ? `[${address}]` : address}/large`;
  const { stdout } = await wire.nodes.a.pod.run([
    'curl',
    '-s',
    '-m',
    String(5 * PATIENCE),
    '--noproxy',
    '*',
    url,
  ]);
  return stdout === LARGE;
}

for (const { road, needs, profile, overhead } of CASES) {
  const skip =
    whyNoKernel(['ping', 'nft', 'curl', 'busybox']) ??
    (needs === undefined ? undefined : whyLacking(needs)) ??
    false;
  for (const outer of FAMILIES) {
    test(`the road ${road} over IPv${outer} alone`, { skip }, async (t) => {
      using wire = await makeWire(`${road}${outer}`, { outer, settings: { profile, 'road.type': road } });
      const { nodes, mtu } = wire;
      const inner = families(nodes.a.addresses);

      await t.test(
        'packets of the whole MTU pass unfragmented, in both families; larger ones are refused',
        async () => {
          assert.equal(mtu, 1500 - overhead[outer === 4 ? 0 : 1]);
          for (const family of inner) {
            await reaches(wire, 'a', { family, bytes: mtu });
            assert.ok(await pings(wire, 'b', { family, bytes: mtu }));
            assert.ok(!(await pings(wire, 'a', { family, bytes: mtu + 1 }, 1)));
          }
        },
      );

      await t.test('a router that passes less: large transfers go through all the same', async () => {
        wire.router.ip('link set to-b mtu 1400');
        nodes.b.netns.ip('link set eth0 mtu 1400');
        const server = nodes.b.pod.start(['busybox', 'httpd', '-f', '-p', '80', '-h', directory]);
        try {
          for (const family of inner)
            await waitFor(`a large answer by IPv${family}`, () => fetches(wire, family), 20_000);
        } finally {
          server.kill('SIGKILL');
          wire.router.ip('link set to-b mtu 1500');
          nodes.b.netns.ip('link set eth0 mtu 1500');
        }
      });

      await t.test('packets of who is no peer are dropped', async () => {
        nodes.b.converge(undefined);
        const before = await strangers(wire, 'b');
        for (const family of inner) assert.ok(!(await pings(wire, 'a', { family, bytes: 100 }, 1)));
        assert.ok((await strangers(wire, 'b')) > before);
        nodes.b.converge(nodes.a.advert);
        for (const family of inner) await reaches(wire, 'a', { family, bytes: 100 });
      });

      await t.test('nothing is left of it', () => {
        for (const side of SIDES) assert.deepEqual(nodes[side].clear(), []);
      });
    });
  }
}
