/**
 * A host that was rebooted: the kernel is empty, and the files tell of an earlier boot. From the agent's start on it is
 * asked whether the node is ready; no answer may be yes before the kernel holds every peer in the store.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { connectAgent } from '../../src/cli/client.ts';
import { claimName } from '../../src/ipam/subnet.ts';
import type { Attachment } from '../../src/model/attachment.ts';
import type { NodeAdvert } from '../../src/model/world.ts';
import { address } from '../../src/net/address.ts';
import { mac } from '../../src/net/mac.ts';
import { interfaceAddress, prefix } from '../../src/net/prefix.ts';
import { openDirectoryStore } from '../../src/stores/directory.ts';
import { openLedger } from '../../src/stores/ledger.ts';
import { makeForwarding, makeNamespace, waitFor, whyNoKernel } from './namespace.ts';
import { makeUnderlay, type Node, startNode, type Underlay, whyNoTartan } from './node.ts';

const skip = whyNoKernel(['ip', 'bridge']) ?? whyNoTartan() ?? false;
const PEERS = 200;
const LABEL = 'ar-boot';

function advert(number: number): NodeAdvert {
  return {
    name: `peer${number}`,
    addresses: { 4: address(`172.30.0.${number}`) },
    subnets: { 4: prefix(`10.244.${number}.0/24`) },
    road: 'vxlan',
    vxlan: { vni: 1, port: 8472, mac: { 4: mac(`02:00:00:00:00:${number.toString(16).padStart(2, '0')}`) } },
    mtu: 1500,
    ready: true,
  };
}

async function fillStore(path: string): Promise<void> {
  const store = openDirectoryStore(path);
  for (let number = 2; number < PEERS + 2; number += 1) {
    const peer = advert(number);
    await store.put('Node', peer.name, peer);
    const subnet = peer.subnets[4] ?? assert.fail();
    await store.put('SubnetClaim', claimName(subnet), { node: peer.name, subnet, reserved: false });
  }
  store.close();
}

/** A pod of a boot that is over. */
const LEFTOVER: Attachment = {
  network: 'tartan',
  containerId: 'ofanearlierboot',
  ifname: 'eth0',
  phase: 'ready',
  netns: '/run/netns/gone',
  netnsInode: 1,
  bootId: '00000000-0000-0000-0000-000000000000',
  configHash: '',
  wiring: 'routed',
  hostLink: 'tt00000000001',
  mac: mac('02:00:00:00:01:01'),
  mtu: 1450,
  addresses: [interfaceAddress(address('10.244.250.9'), 32)],
  gateways: [],
  routes: [],
  portMappings: [],
};

/** How many peers have a route, a neighbour and a forwarding entry: the smallest of the three. */
function programmed({ netns }: Node): number {
  const routes = netns.list<{ dev: string; gateway?: string }>('route show table main');
  const neighbors = netns.list<{ state: string[] }>('neighbor show nud permanent');
  const [device] = netns.list<{ ifname: string }>('link show type vxlan');
  const count = (lines: readonly unknown[]): number => lines.length;
  const roads = count(routes.filter(({ dev, gateway }) => dev === device?.ifname && gateway !== undefined));
  return device === undefined ? 0 : Math.min(roads, count(neighbors));
}

async function forwardingEntries({ netns }: Node): Promise<number> {
  const text = await netns.must(['bridge', 'fdb', 'show']);
  return text.split('\n').filter((line) => line.includes(' dst 172.30.0.')).length;
}

describe('a rebooted host', { skip }, () => {
  let underlay: Underlay;
  let store: string;
  let node: Node;
  before(async () => {
    store = mkdtempSync(join(tmpdir(), 'ar-store-'));
    underlay = await makeUnderlay('ar');
    await fillStore(store);
    const network = { name: 'tartan', ipv4: { range: '10.244.0.0/16', nodeSubnet: '10.244.250.0/24' } };
    node = await startNode(LABEL, { network }, { underlay, index: 1, store });
  });
  after(async () => {
    await node?.stop();
    underlay?.remove();
    rmSync(store, { recursive: true, force: true });
  });

  const run = (): string => join(node.directory, 'run');

  async function reboot(runs: 'kept' | 'cleared'): Promise<void> {
    await node.kill();
    if (runs === 'cleared') rmSync(run(), { recursive: true });
    else {
      const ledger = openLedger(join(run(), 'attachments.journal'));
      ledger.put(LEFTOVER);
      ledger.close();
    }
    node.netns.remove();
    await waitFor('the old uplink to go', () => !underlay.netns.ip('link show').includes('p1@'));
    const netns = makeNamespace(LABEL);
    await makeForwarding(netns);
    underlay.plug(netns, 1);
    assert.equal(programmed(node), 0);
  }

  /** Asks until the answer is yes; how often it was no, and what the kernel held at the yes. */
  async function follow(ask: () => Promise<boolean>): Promise<{ refused: number; held: number }> {
    for (let refused = 0; ; refused += 1) {
      if (await ask()) return { refused, held: Math.min(programmed(node), await forwardingEntries(node)) };
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  const readyz = async (): Promise<boolean> => {
    try {
      return (await connectAgent(run()).text('/readyz')).status === 200;
    } catch {
      return false;
    }
  };
  const cniStatus = async (): Promise<boolean> => {
    const config = { cniVersion: '1.1.0', name: 'tartan', type: 'tartan-cni' };
    const { code, stdout } = await node.cni('STATUS', {}, config);
    if (code !== 0) assert.equal((JSON.parse(stdout) as { code: number }).code, 50, stdout);
    return code === 0;
  };

  for (const runs of ['kept', 'cleared'] as const) {
    test(`run directory ${runs}: not ready before every peer is in the kernel`, async () => {
      await reboot(runs);
      const asked = Promise.all([follow(readyz), follow(cniStatus)]);
      await node.restart();
      for (const { refused, held } of await asked) {
        assert.ok(refused > 0, 'it was asked before it could be ready');
        assert.equal(held, PEERS);
      }
      const { stdout } = await node.run(['status']);
      assert.match(stdout, /Peers: +200 of 200 peers programmed/);
      assert.ok(!stdout.includes(LEFTOVER.containerId), stdout);
    });
  }
});
