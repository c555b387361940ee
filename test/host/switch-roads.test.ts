/**
 * The cluster goes through every kind of road that a kernel can have, while two pods talk. Most hosts' kernels for virtual
 * machines lack most of them; the twin runs under QEMU.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Status } from '../../src/api/status.ts';
import { startLab } from '../../src/lab/lab.ts';
import { whyLacking } from '../vm/features.ts';
import { PATIENCE, waitFor, whyNoKernel } from './namespace.ts';
import { whyNoTartan } from './node.ts';
import { startTraffic } from './traffic.ts';

const skip =
  whyNoKernel(['ip', 'nft', 'ping', 'iperf3']) ??
  whyLacking('wireguard') ??
  whyLacking('ipip') ??
  whyLacking('fou') ??
  whyLacking('esp') ??
  whyLacking('gre') ??
  whyNoTartan() ??
  false;

/** How the route to the other node's pods looks by each. */
const ROUTES = {
  wireguard: /dev tartan\.wg/,
  ipip: /dev tartan[0-9a-f]{9} /,
  fou: /dev tartan[0-9a-f]{9} /,
  ipsec: /dev tartan\.esp/,
  gre: /dev tartan[0-9a-f]{9} /,
  vxlan: /dev tartan\.1 /,
};

test('from vxlan by every other road to vxlan under traffic', { skip }, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'sw-secrets-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const secretsFile = join(directory, 'secrets');
  writeFileSync(secretsFile, `one ${randomBytes(32).toString('base64')}\n`, { mode: 0o600 });
  await using lab = await startLab({
    name: `sw-all-${process.pid}`,
    nodes: 2,
    subnets: 1,
    profile: 'canal',
    settings: { policy: { enforce: false }, road: { ipsec: { secretsFile } } },
    readyMs: 60_000 * PATIENCE,
  });
  await lab.addPod('node1', 'one');
  const { addresses } = await lab.addPod('node2', 'two');
  const meets = async () =>
    (await lab.exec('one', ['ping', '-n', '-c1', '-W5', addresses[0] ?? ''])).code === 0;
  await waitFor('the pods to meet', meets);
  const traffic = await startTraffic(lab, ['one', 'two']);
  for (const [road, route] of Object.entries(ROUTES)) {
    const wait = String(20 * PATIENCE);
    const { code, stdout, stderr } = await lab.tartan('node1', 'switch', road, '--timeout', wait);
    assert.equal(code, 0, `${road}: ${stdout}${stderr}`);
    const status = await lab.tartan('node1', 'status', '-o', 'json');
    const { peers } = JSON.parse(status.stdout) as Status;
    assert.deepEqual(
      peers.map((peer) => peer.road),
      [road],
    );
    const routes = await lab.exec('node1', ['ip', 'route', 'show', 'proto', '84', 'type', 'unicast']);
    assert.match(routes.stdout, route);
    const links = await lab.exec('node1', ['ip', '-o', 'link', 'show']);
    const tunnels = links.stdout.match(/ tartan[.0-9a-z]*[@:]/g) ?? [];
    assert.equal(tunnels.length, 1, `only its own device: ${tunnels.join(' ')}`);
  }
  const { pings, streams } = await traffic.stop();
  for (const { pair, sent, lost } of pings) {
    t.diagnostic(`${pair}: ${lost} of ${sent} pings lost`);
    assert.ok(lost <= 1 && sent > 100, `${pair}: ${lost} of ${sent}`);
  }
  for (const { pair, stood, megabytes, longestPause } of streams) {
    t.diagnostic(`${pair}: ${megabytes.toFixed(1)} MB, longest pause ${longestPause} s`);
    assert.ok(stood && megabytes > 0.5, pair);
  }
});
