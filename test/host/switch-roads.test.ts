/**
 * The cluster goes through every kind of road that a kernel can have, while two pods talk. Most hosts' kernels for virtual
 * machines lack WireGuard and IP in IP; the twin runs under QEMU.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startLab } from '../../src/lab/lab.ts';
import { whyLacking } from '../vm/features.ts';
import { PATIENCE, waitFor, whyNoKernel } from './namespace.ts';
import { whyNoTartan } from './node.ts';
import { startTraffic } from './traffic.ts';

const skip =
  whyNoKernel(['ip', 'nft', 'ping', 'iperf3']) ??
  whyLacking('wireguard') ??
  whyLacking('ipip') ??
  whyNoTartan() ??
  false;

/** How the route to the other node's pods looks by each. */
const ROUTES = {
  wireguard: /dev tartan\.wg/,
  ipip: /dev tartan[0-9a-f]{9} /,
  vxlan: /dev tartan\.1 /,
};

test('from vxlan by wireguard and ipip to vxlan under traffic', { skip }, async (t) => {
  await using lab = await startLab({
    name: `sw-all-${process.pid}`,
    nodes: 2,
    subnets: 1,
    profile: 'canal',
    settings: { policy: { enforce: false } },
    readyMs: 60_000 * PATIENCE,
  });
  await lab.addPod('node1', 'one');
  const { addresses } = await lab.addPod('node2', 'two');
  const meets = async () =>
    (await lab.exec('one', ['ping', '-n', '-c1', '-W5', addresses[0] ?? ''])).code === 0;
  await waitFor('the pods to meet', meets);
  const traffic = await startTraffic(lab, ['one', 'two']);
  for (const [road, route] of Object.entries(ROUTES)) {
    const wait = String(60 * PATIENCE);
    const { code, stdout, stderr } = await lab.tartan('node1', 'switch', road, '--timeout', wait);
    assert.equal(code, 0, `${road}: ${stdout}${stderr}`);
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
