/**
 * The road `ipsec`: a lab of real agents on two subnets with a router between, which captures everything that passes between
 * nodes. Most hosts' kernels for virtual machines lack ESP; the twin runs under QEMU.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Lab, startLab } from '../../src/lab/lab.ts';
import { labDirectory, routerNetns } from '../../src/lab/topology.ts';
import { address as addressOf } from '../../src/net/address.ts';
import { lastAddress, prefixOf } from '../../src/net/prefix.ts';
import { whyLacking } from '../vm/features.ts';
import { namespaceAt, PATIENCE, waitFor } from './namespace.ts';
import { whyNoTartan } from './node.ts';
import { startTalker } from './talker.ts';

const root = process.getuid?.() === 0 ? undefined : 'needs root';
const skip = root ?? whyLacking('esp') ?? whyNoTartan() ?? false;
const LINK = 'tartan.esp';
const PORT = 7000;
/** Stands in every echo request: as cleartext it would be seen. */
const PATTERN = '74617274616e2d636c656172';
/** Two pods' states: a secret, two directions. */
const STATES = 4;

async function must(lab: Lab, where: string, command: string): Promise<string> {
  const { code, stdout, stderr } = await lab.exec(where, command.split(' '));
  assert.equal(code, 0, `${command}: ${stderr}`);
  return stdout;
}

type Pinging = { end(): Promise<{ readonly sent: number; readonly received: number }> };

function startPing(netns: string, to: string, options: string): Pinging {
  const argv = `ping -n -q -p ${PATTERN} ${options} ${to}`.split(' ');
  const child = namespaceAt(netns).start(argv, { stdio: ['ignore', 'pipe', 'ignore'] });
  let text = '';
  child.stdout?.on('data', (chunk: Buffer) => (text += String(chunk)));
  const ended = once(child, 'close');
  return {
    end: async () => {
      child.kill('SIGINT');
      await ended;
      const [, sent = '0', received = '0'] = /(\d+) packets transmitted, (\d+) received/.exec(text) ?? [];
      return { sent: Number(sent), received: Number(received) };
    },
  };
}

const secretLine = (name: string): string => `${name} ${randomBytes(32).toString('base64')}\n`;

test('the road ipsec: real agents with blocks, two subnets and a router, strict', { skip }, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'ips-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const file = join(directory, 'secrets');
  const setSecrets = (lines: readonly string[]): void => {
    writeFileSync(`${file}.new`, lines.join(''), { mode: 0o600 });
    renameSync(`${file}.new`, file);
  };
  const [old, young] = [secretLine('old'), secretLine('young')];
  setSecrets([old]);
  await using lab = await startLab({
    name: `ips-${process.pid}`,
    nodes: 3,
    subnets: 2,
    profile: 'canal',
    settings: {
      policy: { enforce: false },
      network: { ipv6: { range: 'fd00:244::/48' } },
      addresses: { type: 'blocks' },
      road: { type: 'ipsec', ipsec: { secretsFile: file } },
    },
    readyMs: 60_000 * PATIENCE,
  });
  const [one, , three] = lab.nodes.map(({ name }) => name) as [string, string, string];
  const near = await lab.addPod(one, 'near');
  const far = await lab.addPod(three, 'far');
  const [to = ''] = far.addresses;
  // Of a block of the other node's.
  const borrowed = lastAddress(prefixOf(addressOf(near.addresses[0] ?? ''), 26));
  await lab.addPod(three, 'lent', { runtimeConfig: { ips: [`${borrowed}/32`] } });

  const reaches = async (address: string, more: readonly string[] = []): Promise<boolean> =>
    (
      await namespaceAt(near.netns).run([
        'ping',
        '-n',
        '-q',
        '-c',
        '2',
        '-i',
        '0.2',
        '-W',
        '3',
        ...more,
        address,
      ])
    ).code === 0;
  const assertReached = async (): Promise<void> => {
    for (const address of [...far.addresses, borrowed])
      await waitFor(address, () => reaches(address), 30_000);
  };
  /** SPIs by which the node sends to the other one, by its policies. */
  const sendsBy = async (node: string, other: string): Promise<string[]> => {
    const { 4: remote } = lab.nodes.find(({ name }) => name === other)?.addresses ?? { 4: '' };
    const policies = (await must(lab, node, 'ip xfrm policy')).split(/\n(?=src )/);
    const out = policies.filter((text) => text.includes('dir out') && text.includes(`dst ${remote}\n`));
    return [...new Set(out.flatMap((text) => /spi (0x[0-9a-f]+)/.exec(text)?.[1] ?? []))];
  };

  const router = namespaceAt(routerNetns(lab.name));
  const captured = join(directory, 'all.pcap');
  const capture = router.start(['tcpdump', '-q', '-U', '-i', 'any', '-s', '0', '-w', captured]);
  t.after(() => capture.kill('SIGKILL'));
  await waitFor('the capture', () => existsSync(captured));

  await t.test('pods reach each other, in both families, and by a borrowed address', async () => {
    await assertReached();
    const policies = await must(lab, one, 'ip xfrm policy');
    assert.match(policies, new RegExp(`dst ${borrowed}/32 `));
  });

  await t.test('packets of the whole MTU pass, larger ones are refused', async () => {
    for (const address of far.addresses) {
      const size = 1438 - (address.includes(':') ? 48 : 28);
      assert.ok(await reaches(address, ['-M', 'do', '-s', String(size)]), address);
      assert.ok(!(await reaches(address, ['-M', 'do', '-s', String(size + 1)])), address);
    }
  });

  await t.test('a new secret, and the old one taken away, lose nothing', async () => {
    const ends = [namespaceAt(near.netns), namespaceAt(far.netns)] as const;
    const talkers = [
      await startTalker(ends[0], 'near', []),
      await startTalker(ends[1], 'far', [PORT]),
    ] as const;
    await talkers[0].open([{ protocol: 'tcp', address: to, port: PORT }]);
    const pings = far.addresses.map((address) => startPing(near.netns, address, '-i 0.01'));
    const before = await sendsBy(one, three);
    setSecrets([young, old]);
    const sendsNew = async (node: string, other: string): Promise<boolean> => {
      const spis = await sendsBy(node, other);
      return spis.length === 1 && !before.includes(spis[0] ?? '');
    };
    const beforeBack = await sendsBy(three, one);
    await waitFor('node to send by the new one', () => sendsNew(one, three), 60_000);
    await waitFor('and back', async () => (await sendsBy(three, one))[0] !== beforeBack[0], 60_000);
    setSecrets([young]);
    const left = async (node: string): Promise<number> =>
      ((await must(lab, node, 'ip xfrm state')).match(/proto esp/g) ?? []).length;
    for (const node of [one, three]) {
      await waitFor('the old states to go', async () => (await left(node)) === STATES, 60_000);
    }
    const [bytes = 0] = await talkers[0].count();
    await waitFor('the connection goes on', async () => ((await talkers[0].count())[0] ?? 0) > bytes);
    for (const ping of pings) {
      const { sent, received } = await ping.end();
      assert.ok(sent > 1000, `${sent} sent`);
      assert.equal(received, sent);
    }
    for (const talker of talkers) await talker.stop();
  });

  await t.test('flushed states come back under other keys', async () => {
    const before = await sendsBy(three, one);
    await must(lab, three, 'ip xfrm state flush');
    await must(lab, three, 'ip xfrm policy flush');
    await assertReached();
    assert.notDeepEqual(await sendsBy(three, one), before);
  });

  await t.test('agents that are killed lose nothing, and one that comes back keeps its states', async () => {
    const before = await must(lab, three, 'ip xfrm state count');
    const spis = await sendsBy(three, one);
    const pinging = startPing(near.netns, to, '-i 0.02');
    await Promise.all([lab.kill(one), lab.kill(three)]);
    await lab.start(three);
    const { sent, received } = await pinging.end();
    assert.ok(sent > 50, `${sent} sent`);
    assert.equal(received, sent);
    assert.deepEqual(
      [await sendsBy(three, one), await must(lab, three, 'ip xfrm state count')],
      [spis, before],
    );
  });

  await t.test('strict: without agent, states and device nothing passes', async () => {
    await must(lab, one, `ip link del ${LINK}`);
    await must(lab, one, 'ip xfrm state flush');
    assert.ok(!(await reaches(to)));
    await lab.start(one);
    await assertReached();
  });

  await t.test('keys are in the kernel alone, the secret in its file alone', async () => {
    const states = await must(lab, one, 'ip xfrm state');
    const key = /rfc4106\(gcm\(aes\)\) 0x([0-9a-f]{72})/.exec(states)?.[1] ?? '';
    assert.equal(key.length, 72);
    const secret = young.trim().split(' ')[1] ?? '';
    const status = (await lab.tartan(one, 'status', '-o', 'json')).stdout;
    assert.match(status, /ipsec/);
    const bundled = await must(lab, one, 'ip -s xfrm state list nokeys');
    assert.ok(bundled.includes('proto esp') && !bundled.includes(key), 'as in the support bundle');
    for (const needle of [key, secret, Buffer.from(key, 'hex').toString('base64').slice(0, 30)]) {
      const found = await lab.exec(one, ['grep', '-rlF', needle, labDirectory(lab.name)]);
      assert.equal(found.stdout, '', 'settings, logs, state and store');
      assert.ok(!status.includes(needle));
    }
  });

  await t.test('between nodes there was nothing but ESP: no cleartext byte', async () => {
    capture.kill('SIGINT');
    await waitFor('the capture to end', () => capture.exitCode !== null || capture.signalCode !== null);
    const bytes = readFileSync(captured);
    assert.ok(bytes.length > 100_000, `${bytes.length} bytes`);
    assert.ok(!bytes.includes(Buffer.from(PATTERN, 'hex')), 'the pattern of the echo requests');
    const read = (...filter: string[]) =>
      router.must(['tcpdump', '-n', '-c', '20', '-r', captured, ...filter]);
    assert.match(await read('ip proto 50'), /ESP\(spi=0x/);
    assert.equal(await read('net 10.244.0.0/16 or net fd00:244::/48'), '', 'addresses of pods');
    assert.equal(await read('ip and not ip proto 50 and not icmp'), '', 'other packets');
  });

  await t.test('a purge leaves nothing', async () => {
    await lab.kill(one);
    await lab.tartan(one, 'uninstall', '--purge');
    for (const what of ['state', 'policy']) assert.equal(await must(lab, one, `ip xfrm ${what}`), '');
  });
});
