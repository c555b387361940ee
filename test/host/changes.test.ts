/**
 * What happens to a running node from outside: another program starts to drop forwarded packets, the underlay address
 * changes, a stray link is left behind; and what the agent gives back when it is purged.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { makeNamespace, type Namespace, waitFor, whyNoKernel } from './namespace.ts';
import { makeUnderlay, type Node, startNode, whyNoTartan } from './node.ts';

const skip = whyNoKernel(['iptables-nft', 'nft', 'ping']) ?? whyNoTartan() ?? false;

type StatusText = { peers: { name: string; addresses: string[] }[]; ready: boolean };

async function statusOf(node: Node): Promise<StatusText> {
  return JSON.parse((await node.run(['status', '-o', 'json'])).stdout) as StatusText;
}

async function addPod(node: Node, pod: Namespace): Promise<string> {
  const environment = { CNI_CONTAINERID: pod.name, CNI_NETNS: pod.path, CNI_IFNAME: 'eth0' };
  const config = { cniVersion: '1.1.0', name: 'tartan', type: 'tartan-cni' };
  const { code, stdout, stderr } = await node.cni('ADD', environment, config);
  assert.equal(code, 0, stdout + stderr);
  const { ips } = JSON.parse(stdout) as { ips: { address: string }[] };
  return ips[0]?.address.split('/')[0] ?? '';
}

const reaches = async (pod: Namespace, address: string): Promise<boolean> =>
  (await pod.run(['ping', '-c1', '-W1', address])).code === 0;

test('a node follows what changes around it', { skip }, async (t) => {
  await using undo = new AsyncDisposableStack();
  const keep = <T>(made: T, end: () => unknown): T => {
    undo.defer(async () => void (await end()));
    return made;
  };
  const store = mkdtempSync(join(tmpdir(), 'ag-store-'));
  keep(store, () => rmSync(store, { recursive: true, force: true }));
  const underlay = await makeUnderlay('ag');
  keep(underlay, () => underlay.remove());
  const a = await startNode('ag-a', {}, { underlay, index: 1, store });
  keep(a, () => a.stop());
  const b = await startNode('ag-b', {}, { underlay, index: 2, store });
  keep(b, () => b.stop());
  const [podA, podB] = [makeNamespace('ag-pa'), makeNamespace('ag-pb')];
  for (const pod of [podA, podB]) keep(pod, () => pod.remove());
  await addPod(a, podA);
  const there = await addPod(b, podB);
  await waitFor('the first packet', () => reaches(podA, there));

  await t.test('a firewall that drops what it forwards', async () => {
    await b.netns.must(['iptables-nft', '-P', 'FORWARD', 'DROP']);
    const rules = async (): Promise<string> =>
      (await b.netns.run(['nft', 'list', 'chain', 'ip', 'filter', 'FORWARD'])).stdout;
    await waitFor('an accept in the chain', async () => (await rules()).includes('tartan:'));
    assert.ok(await reaches(podA, there));
    const doctor = await b.run(['doctor', '--all']);
    assert.match(doctor.stdout, /ip filter FORWARD drops forwarded packets/);

    await b.netns.must(['iptables-nft', '-F', 'FORWARD']);
    await waitFor('the accept again', async () => (await rules()).includes('tartan:'));
    assert.ok(await reaches(podA, there));
    await b.netns.must(['iptables-nft', '-P', 'FORWARD', 'ACCEPT']);
    await waitFor('no accept where nothing drops', async () => !(await rules()).includes('tartan:'));
  });

  await t.test('a last rule that drops, given to a chain that was there before', async () => {
    const chain = 'inet mine forward';
    await b.netns.must(['nft', 'add', 'table', 'inet', 'mine']);
    await b.netns.must([
      'nft',
      `add chain ${chain} { type filter hook forward priority 10; policy accept; }`,
    ]);
    await waitFor('pods to reach each other', () => reaches(podA, there));
    await b.netns.must(['nft', `add rule ${chain} drop`]);
    await waitFor('an accept in the chain', async () =>
      (await b.netns.must(['nft', `list chain ${chain}`])).includes('tartan:'),
    );
    assert.ok(await reaches(podA, there));
    await b.netns.must(['nft', 'delete table inet mine']);
  });

  await t.test('another underlay address: device, advert and peers follow', async () => {
    b.netns.ip('addr del 172.30.0.2/24 dev eth0');
    b.netns.ip('addr add 172.30.0.77/24 dev eth0');
    b.netns.ip('route replace default via 172.30.0.254');
    const isLocal = (): boolean => b.netns.ip('-d link show type vxlan').includes('local 172.30.0.77');
    await waitFor('the VXLAN device on the new address', isLocal);
    await waitFor('the peer to know', async () =>
      (await statusOf(a)).peers.some(
        (peer) => peer.name === 'ag-b' && peer.addresses.includes('172.30.0.77'),
      ),
    );
    await waitFor('traffic on the new address', () => reaches(podA, there));
  });

  await t.test(
    'a pod’s link that no ledger entry names is gone after a start, and living ones stay',
    async () => {
      b.netns.ip('link add tt0123456789a type veth peer name xx0');
      await b.restart();
      await waitFor('the stray to go', () => !b.netns.ip('link show').includes('tt0123456789a'));
      assert.ok(await reaches(podA, there));
    },
  );

  await t.test('a paused node stays paused over a restart and refuses pods', async () => {
    assert.equal((await b.run(['pause'])).code, 0);
    const config = { cniVersion: '1.1.0', name: 'tartan', type: 'tartan-cni' };
    const status = (): Promise<{ code: number; stdout: string }> => b.cni('STATUS', {}, config);
    assert.match((await status()).stdout, /paused/);
    await b.kill();
    const ready = b.restart();
    await waitFor('the agent to say it', async () => (await status()).stdout.includes('paused'));
    assert.equal((await b.run(['resume'])).code, 0);
    await ready;
  });

  await t.test('purge writes back what sysctls were before the agent came', async () => {
    const file = join(a.state, 'sysctls.json');
    await a.kill();
    rmSync(file, { force: true });
    await a.netns.must(['sysctl', '-qw', 'net.ipv4.ip_forward=0']);
    await a.restart();
    const forwarding = async (): Promise<string> => a.netns.must(['cat', '/proc/sys/net/ipv4/ip_forward']);
    assert.equal(await forwarding(), '1\n');
    const { values } = JSON.parse(readFileSync(file, 'utf8')) as { values: Record<string, string> };
    const host = Object.entries(values).filter(([key]) => !/conf\/(?:cni0|tartan|tt)/.test(key));
    assert.equal(values['net/ipv4/ip_forward'], '0', JSON.stringify(values));
    const { code, stdout, stderr } = await a.run(['uninstall', '--purge']);
    assert.equal(code, 0, stdout + stderr);
    for (const [key, value] of host) {
      const now = await a.netns.must(['cat', `/proc/sys/${key}`]);
      assert.equal(now.trim().replaceAll(/\s+/g, ' '), value, key);
    }
    assert.ok(!existsSync(file));
  });
});
