/**
 * A node of Calico's, wired as Calico wires it, becomes Tartan's out of an export of Calico's objects: its pods keep their addresses
 * and answer all the time, and its policies are enforced.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { stringify } from 'yaml';
import { makeForwarding, makeNamespace, type Namespace, waitFor, whyNoKernel } from './namespace.ts';
import { makeUnderlay, type Node, startNode, whyNoTartan } from './node.ts';
import { type Ping, startPing } from './steady-ping.ts';

const skip = whyNoKernel(['ip', 'ping', 'iptables-restore']) ?? whyNoTartan() ?? false;

type Pod = {
  readonly name: string;
  readonly namespace: string;
  readonly number: number;
  readonly netns: Namespace;
};

const BLOCK = '10.60.1.0/26';
const addressOf = ({ number }: Pick<Pod, 'number'>): string => `10.60.1.${number}`;
const handleOf = ({ name }: Pod): string => `k8s-pod-network.${name}-container`;
/** cni-plugin/pkg/dataplane/linux: `cali` and 11 digits of a hash of the pod's name. */
const linkOf = ({ namespace, name }: Pod): string =>
  `cali${createHash('sha1').update(`${namespace}.${name}`).digest('hex').slice(0, 11)}`;

/** As Calico's plugin and Felix do it (felix/dataplane/linux/endpoint_mgr.go). */
async function wire(node: Namespace, pod: Pod): Promise<void> {
  const link = linkOf(pod);
  node.ip(`link add ${link} type veth peer name eth0 netns ${pod.netns.name}`);
  node.ip(`link set ${link} address ee:ee:ee:ee:ee:ee mtu 1450 up`);
  const sysctls = [
    `conf.${link}.proxy_arp=1`,
    `neigh.${link}.proxy_delay=0`,
    `conf.${link}.route_localnet=1`,
  ];
  await node.must(['sysctl', '-qw', ...sysctls.map((text) => `net.ipv4.${text}`)]);
  pod.netns.ip('link set eth0 mtu 1450 up');
  pod.netns.ip(`addr add ${addressOf(pod)}/32 dev eth0`);
  pod.netns.ip('route add 169.254.1.1 dev eth0 scope link');
  pod.netns.ip('route add default via 169.254.1.1 dev eth0');
  node.ip(`route add ${addressOf(pod)} dev ${link} scope link proto 80`);
}

/** `calicoctl get … -o yaml` and `kubectl get ipamblocks … -o yaml`. */
function exportOf(pods: readonly Pod[]): string {
  const allocations = Array.from({ length: 64 }, (_, number) => {
    const index = pods.findIndex((pod) => pod.number === number);
    return index < 0 ? null : index;
  });
  const attributes = pods.map((pod) => ({
    handle_id: handleOf(pod),
    secondary: { pod: pod.name, namespace: pod.namespace, node: 'n7' },
  }));
  const unallocated = allocations.flatMap((index, number) => (index === null ? number : []));
  const [v3, v1] = ['projectcalico.org/v3', 'crd.projectcalico.org/v1'];
  const pool = {
    metadata: { name: 'default-ipv4-ippool' },
    spec: { cidr: '10.60.0.0/16', blockSize: 26, vxlanMode: 'Always', natOutgoing: true },
  };
  const block = {
    apiVersion: v1,
    kind: 'IPAMBlock',
    metadata: { name: '10-60-1-0-26' },
    spec: { cidr: BLOCK, affinity: 'host:n7', allocations, attributes, unallocated },
  };
  const documents = [
    { apiVersion: v3, kind: 'IPPoolList', items: [{ apiVersion: v3, kind: 'IPPool', ...pool }] },
    { apiVersion: 'v1', kind: 'List', items: [block] },
    { apiVersion: v3, kind: 'ClusterInformation', metadata: { name: 'default' }, spec: { clusterGUID: 'x' } },
    {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name: 'closed', namespace: 'vault' },
      spec: { podSelector: {}, policyTypes: ['Ingress'] },
    },
  ];
  return documents.map((document) => stringify(document)).join('---\n');
}

const CONFIG = { cniVersion: '1.0.0', name: 'tartan', type: 'tartan-cni' };
const environment = (id: string, netns: Namespace) => ({
  CNI_CONTAINERID: id,
  CNI_NETNS: netns.path,
  CNI_IFNAME: 'eth0',
});

test('a node of Calico’s becomes Tartan’s, and no packet is lost', { skip, timeout: 120_000 }, async (t) => {
  const underlay = await makeUnderlay('kc');
  const netns = makeNamespace('n7');
  const cleanup: (() => unknown)[] = [() => underlay.remove(), () => netns.remove()];
  t.after(async () => {
    for (const undo of cleanup.toReversed()) await undo();
  });
  await makeForwarding(netns);
  underlay.plug(netns, 7);
  const masquerade = '*nat\n-A POSTROUTING -s 10.60.0.0/16 ! -d 10.60.0.0/16 -j MASQUERADE\nCOMMIT\n';
  await netns.must(['iptables-restore', '--noflush', '--wait'], { input: masquerade });
  netns.ip(`route add blackhole ${BLOCK} proto bird`);
  const pods = [
    { name: 'a', namespace: 'web', number: 5 },
    { name: 'b', namespace: 'web', number: 9 },
    { name: 'c', namespace: 'vault', number: 33 },
  ].map((pod): Pod => ({ ...pod, netns: makeNamespace(`k${pod.name}`) }));
  const [a, b, c] = pods as [Pod, Pod, Pod];
  for (const pod of pods) {
    cleanup.push(() => pod.netns.remove());
    await wire(netns, pod);
  }
  const pings: Ping[] = [
    startPing(a.netns, addressOf(b)),
    startPing(b.netns, addressOf(a)),
    startPing(b.netns, '172.30.0.254'),
    startPing(netns, addressOf(a)),
  ];

  let node: Node | undefined;
  await t.test('the export is taken over, and this node’s pods', async () => {
    const settings = {
      profile: 'calico',
      network: { ipv4: { range: '10.60.0.0/16' } },
      road: { type: 'vxlan', mode: 'Always', vxlan: { vni: 4096, port: 4789 } },
      addresses: { type: 'blocks', quarantineSeconds: 0 },
    };
    const before = async (run: Node['run'], directory: string): Promise<void> => {
      const file = join(directory, 'calico.yaml');
      writeFileSync(file, exportOf(pods));
      const links = netns.list('link show');
      const words = ['migrate', 'calico', '--from', file];
      const plan = await run([...words, '--dry-run']);
      assert.equal(plan.code, 0, plan.stderr + plan.stdout);
      assert.match(plan.stdout, /range: 10.60.0.0\/16/);
      assert.match(plan.stdout, /type: vxlan/);
      assert.match(plan.stdout, new RegExp(`adopt 10.60.1.5/32 of a-container: ${linkOf(a)} becomes tt`));
      assert.match(plan.stdout, /ClusterInformation\/default: is Calico’s own/);
      assert.deepEqual(netns.list('link show'), links, 'a trial changes nothing');
      const done = await run(words);
      assert.equal(done.code, 0, done.stderr + done.stdout);
      assert.match(done.stdout, /Block\/10.60.1.0-26 created/);
      const again = await run(words);
      assert.equal(again.code, 0, again.stderr + again.stdout);
      assert.match(again.stdout, /Block\/10.60.1.0-26 unchanged/);
      assert.doesNotMatch(again.stdout, /adopt/);
    };
    node = await startNode('n7', settings, { place: netns, before });
    cleanup.push(() => node?.stop());
    const links = netns.list<{ ifname: string }>('link show').map(({ ifname }) => ifname);
    assert.ok(!links.some((name) => name.startsWith('cali')), links.join(' '));
  });
  assert.ok(node !== undefined);
  const agent = node;

  await t.test('policies of the export are enforced', async () => {
    const reaches = async (from: Pod, to: Pod): Promise<boolean> =>
      (await from.netns.run(['ping', '-n', '-c', '1', '-W', '1', addressOf(to)])).code === 0;
    await waitFor('the pod of vault to be closed', async () => !(await reaches(b, c)));
    assert.ok(await reaches(c, b), 'it may speak');
  });

  await t.test('a new pod has an address of the block that nobody has', async () => {
    const fresh = makeNamespace('kd');
    cleanup.push(() => fresh.remove());
    const { code, stdout } = await agent.cni('ADD', environment('d-container', fresh), CONFIG);
    assert.equal(code, 0, stdout + agent.log());
    const [{ address }] = (JSON.parse(stdout) as { ips: [{ address: string }] }).ips;
    assert.match(address, /^10\.60\.1\.\d+\/32$/);
    assert.ok(!pods.some((pod) => `${addressOf(pod)}/32` === address), address);
    assert.equal((await fresh.run(['ping', '-n', '-c', '2', '-i', '0.1', addressOf(a)])).code, 0);
  });

  await t.test('nothing was lost', async () => {
    const lost = await Promise.all(pings.map((ping) => ping.lost()));
    assert.deepEqual(
      lost.filter((each) => each !== ''),
      [],
    );
  });

  await t.test('a pod of before leaves, and its address comes back', async () => {
    const { code, stdout } = await agent.cni('DEL', environment('a-container', a.netns), CONFIG);
    assert.equal(code, 0, stdout);
    const next = makeNamespace('ke');
    cleanup.push(() => next.remove());
    const wish = { ...CONFIG, runtimeConfig: { ips: [`${addressOf(a)}/32`] } };
    await waitFor('its address to be free', async () => {
      const added = await agent.cni('ADD', environment('e-container', next), wish);
      return added.code === 0;
    });
    assert.equal((await b.netns.run(['ping', '-n', '-c', '2', '-i', '0.1', addressOf(a)])).code, 0);
  });
});
