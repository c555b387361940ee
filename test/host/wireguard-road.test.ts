/**
 * The road `wireguard`: a lab of real agents on two subnets with a router between, strict. Most hosts' kernels for virtual
 * machines lack the module; the twin runs under QEMU.
 */
import assert from 'node:assert/strict';
import { rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Lab, startLab } from '../../src/lab/lab.ts';
import { allReach, renderMatrix } from '../../src/lab/matrix.ts';
import { labDirectory } from '../../src/lab/topology.ts';
import { whyLacking } from '../vm/features.ts';
import { PATIENCE } from './namespace.ts';
import { whyNoTartan } from './node.ts';

const root = process.getuid?.() === 0 ? undefined : 'needs root';
const skip = root ?? whyLacking('wireguard') ?? whyNoTartan() ?? false;
const LINK = 'tartan.wg';

async function assertAllReach(lab: Lab): Promise<void> {
  let reaches = await lab.matrix();
  for (let round = 0; round < 6 && !allReach(reaches); round += 1) reaches = await lab.matrix();
  assert.ok(allReach(reaches), `\n${renderMatrix(reaches)}`);
}

async function must(lab: Lab, where: string, command: string): Promise<string> {
  const { code, stdout, stderr } = await lab.exec(where, command.split(' '));
  assert.equal(code, 0, `${command}: ${stderr}`);
  return stdout;
}

const keyOf = async (lab: Lab, node: string): Promise<string> =>
  (await must(lab, node, `wg show ${LINK} public-key`)).trim();

test('the road wireguard: real agents, strict', { skip }, async (t) => {
  await using lab = await startLab({
    name: `pl-wg-${process.pid}`,
    nodes: 2,
    subnets: 2,
    profile: 'canal',
    settings: {
      policy: { enforce: false },
      network: { ipv6: { range: 'fd00:244::/48' } },
      road: { type: 'wireguard', wireguard: { strict: true } },
    },
    readyMs: 60_000 * PATIENCE,
  });
  for (const { name } of lab.nodes) await lab.addPod(name, `pod-${name}`);
  const [one, two] = lab.nodes;
  assert.ok(one !== undefined && two !== undefined);
  const keyFile = join(labDirectory(lab.name), one.name, 'state/wireguard.key');

  await t.test('every pod reaches every pod, in both families', () => assertAllReach(lab));

  await t.test('packets of the whole MTU pass, larger ones are refused', async () => {
    const [to = ''] = lab.pods().find(({ name }) => name === `pod-${two.name}`)?.addresses ?? [];
    const ping = (size: number) =>
      lab.exec(`pod-${one.name}`, `ping -n -c 2 -W 5 -M do -s ${size - 28} ${to}`.split(' '));
    assert.equal((await ping(1440)).code, 0);
    assert.notEqual((await ping(1441)).code, 0);
  });

  await t.test('the private key is in one file that others cannot read, and nowhere else', async () => {
    assert.equal(statSync(keyFile).mode & 0o777, 0o600);
    const secret = (await must(lab, one.name, `cat ${keyFile}`)).trim();
    // Settings, logs, state and the store of the whole lab.
    const files = await must(lab, one.name, `grep -rlF ${secret} ${labDirectory(lab.name)}`);
    assert.deepEqual(files.trim().split('\n'), [keyFile]);
    const { stdout } = await lab.tartan(one.name, 'status', '-o', 'json');
    assert.ok(stdout.includes('wireguard') && !stdout.includes(secret));
  });

  await t.test('strict: without the device nothing goes plain', async () => {
    const before = await must(lab, one.name, 'nft list table inet tartan');
    assert.match(before, /oifname != "tartan.wg" ip daddr/);
    const [to = ''] = lab.pods().find(({ name }) => name === `pod-${two.name}`)?.addresses ?? [];
    await lab.kill(one.name);
    await must(
      lab,
      one.name,
      `ip route replace ${to}/32 via ${two.lan === one.lan ? two.addresses[4] : await gateway(lab, one.name)}`,
    );
    await lab.exec(`pod-${one.name}`, ['ping', '-n', '-c', '2', '-W', '1', to]);
    const dropped = /oifname != "tartan.wg" ip daddr [^\n]* counter packets (\d+)/g;
    const counts = [...(await must(lab, one.name, 'nft list table inet tartan')).matchAll(dropped)];
    assert.ok(
      counts.some(([, count]) => Number(count) > 0),
      'a counter of the strict rules',
    );
    await must(lab, one.name, `ip route del ${to}/32`);
  });

  await t.test('a new key: the agent makes one when it starts, and peers take it', async () => {
    const before = await keyOf(lab, one.name);
    rmSync(keyFile);
    await lab.start(one.name);
    assert.notEqual(await keyOf(lab, one.name), before);
    await assertAllReach(lab);
    assert.equal((await must(lab, two.name, `wg show ${LINK} peers`)).trim(), await keyOf(lab, one.name));
  });

  await t.test('a deleted device comes back', async () => {
    await must(lab, two.name, `ip link del ${LINK}`);
    await assertAllReach(lab);
  });
});

async function gateway(lab: Lab, node: string): Promise<string> {
  const routes = JSON.parse(await must(lab, node, 'ip -j -4 route show default')) as { gateway: string }[];
  return routes[0]?.gateway ?? '';
}
