/**
 * A cluster of three nodes moves from flannel to Tartan node by node, while all its pods ping each other ten times a second. The
 * set-up is flannel's to the letter (./flannel-node.ts); etcd, the CNI plugins and the kernel are the real ones.
 */
import assert from 'node:assert/strict';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import {
  type Backend,
  type FlannelNode,
  type FlannelPod,
  type Keys,
  netConf,
  PREFIX,
  startFlannel,
  startKeys,
} from './flannel-node.ts';
import { makeNamespace, type Namespace, waitFor, whyNoKernel } from './namespace.ts';
import type { MigrationReport } from '../../src/migration/report.ts';
import { makeUnderlay, type Node, REFERENCE_PLUGINS, startNode, whyNoTartan } from './node.ts';
import { interrupt, type Ping, startPing } from './steady-ping.ts';

const skip =
  whyNoKernel(['ip', 'bridge', 'ping', 'iptables-restore', 'etcd']) ??
  whyNoTartan() ??
  (existsSync(join(REFERENCE_PLUGINS, 'bridge')) ? false : 'needs the reference CNI plugins');

async function assertReaches(from: Namespace, to: string): Promise<void> {
  const { code, stdout } = await from.run(['ping', '-n', '-c', '3', '-i', '0.1', '-W', '2', to]);
  assert.equal(code, 0, `${from.name} does not reach ${to}: ${stdout}`);
}

const CONFIG = { cniVersion: '1.0.0', name: 'tartan', type: 'tartan-cni' };
const environment = (pod: Pick<FlannelPod, 'id' | 'netns'>) => ({
  CNI_CONTAINERID: pod.id,
  CNI_NETNS: pod.netns.path,
  CNI_IFNAME: 'eth0',
});

async function addPod(node: Node, index: number, id: string): Promise<FlannelPod> {
  const netns = makeNamespace(id);
  const { code, stdout } = await node.cni('ADD', environment({ id, netns }), CONFIG);
  assert.equal(code, 0, `${stdout}\n${node.log()}`);
  const result = JSON.parse(stdout) as { ips: { address: string }[] };
  return { id, node: index, netns, address: result.ips[0]?.address.split('/')[0] ?? '', result };
}

type Cluster = {
  readonly root: string;
  readonly keys: Keys;
  readonly backend: Backend;
  readonly flannel: readonly FlannelNode[];
  /** In the order of `flannel`. */
  readonly moved: Node[];
  /** Two on each node, of before the move; each reaches each. */
  readonly before: readonly FlannelPod[];
  /** Removed in the end. */
  readonly keep: (pod: FlannelPod) => FlannelPod;
};

async function openCluster(t: TestContext, label: string, backend: Backend, count: number): Promise<Cluster> {
  const root = mkdtempSync(join(tmpdir(), `${label}-`));
  const underlay = await makeUnderlay(label);
  const cleanup: (() => unknown)[] = [
    () => underlay.remove(),
    () => rmSync(root, { recursive: true, force: true }),
  ];
  t.after(async () => {
    for (const undo of cleanup.toReversed()) await undo();
  });
  const keys = await startKeys(underlay, root);
  cleanup.push(() => keys.stop());
  await keys.put(`${PREFIX}/config`, netConf(backend));
  const flannel: FlannelNode[] = [];
  for (let index = 1; index <= count; index += 1) {
    const place = { underlay, index, directory: join(root, `n${index}`), backend };
    const node = await startFlannel(place, keys);
    cleanup.push(
      () => node.netns.remove(),
      () => node.stopDaemon(),
    );
    flannel.push(node);
  }
  const moved: Node[] = [];
  cleanup.push(() => Promise.all(moved.map((node) => node.stop())));
  await Promise.all(flannel.map((node) => node.follow(keys)));
  const keep = (pod: FlannelPod): FlannelPod => {
    cleanup.push(() => pod.netns.remove());
    return pod;
  };
  const before: FlannelPod[] = [];
  for (const node of flannel)
    for (const letter of ['a', 'b']) before.push(keep(await node.addPod(`p${node.index}${letter}`)));
  for (const from of before)
    for (const to of before) await waitFor(`${from.id} to reach ${to.id}`, () => reaches(from, to), 20_000);
  return { root, keys, backend, flannel, moved, before, keep };
}

/** Between nodes both ways, and to the outside, which knows nodes only. */
function pingAll(t: TestContext, pods: readonly FlannelPod[]): Ping[] {
  const pings = pods.flatMap((from) => [
    ...pods.filter((to) => to.node !== from.node).map((to) => startPing(from.netns, to.address)),
    startPing(from.netns, '172.30.0.254'),
  ]);
  t.after(() => Promise.all(pings.map((ping) => ping.stop())));
  return pings;
}

async function assertNothingLost(pings: readonly Ping[]): Promise<void> {
  const lost = await Promise.all(pings.map((ping) => ping.lost()));
  assert.deepEqual(
    lost.filter((each) => each !== ''),
    [],
  );
}

test('three nodes move from flannel, and no packet is lost', { skip, timeout: 300_000 }, async (t) => {
  const cluster = await openCluster(t, 'km', 'vxlan', 3);
  const { root, flannel, moved, before } = cluster;
  const pings = pingAll(t, before);

  await t.test('the plan changes nothing, and tells all that stands against it', () =>
    tellPlan(flannel[0], root),
  );

  for (const node of flannel)
    await t.test(`node ${node.index} is taken over`, async () => void (await takeOver(node, cluster)));

  await t.test('nothing was lost', () => assertNothingLost(pings));

  await t.test('pods of before leave by Tartan, and their addresses come back', () => leave(cluster));

  await t.test('a restarted agent has nothing to take over, and keeps what it had', async () => {
    const [node] = moved as [Node];
    const seen = node.netns.list('link show');
    await node.restart();
    assert.equal(node.log().match(/taken over: adopt the bridge/g)?.length, 1);
    assert.deepEqual(namesOf(node.netns.list('link show')), namesOf(seen));
  });
});

for (const backend of ['vxlan', 'host-gw'] as const)
  test(
    `a node of ${backend} moves and goes back beside one that stays, and no packet is lost`,
    { skip, timeout: 300_000 },
    async (t) => {
      const cluster = await openCluster(t, 'kb', backend, 2);
      const pings = pingAll(t, cluster.before);
      const [first] = cluster.flannel as [FlannelNode];
      const fresh = await takeOver(first, cluster);
      await goBack(first, cluster, fresh);
      await assertNothingLost(pings);
    },
  );

const namesOf = (links: readonly Record<string, unknown>[]): string[] =>
  links.map((link) => String(link['ifname'])).sort();

async function reaches(from: FlannelPod, to: FlannelPod): Promise<boolean> {
  return (await from.netns.run(['ping', '-n', '-c', '1', '-W', '1', to.address])).code === 0;
}

async function tellPlan(node: FlannelNode | undefined, root: string): Promise<void> {
  assert.ok(node !== undefined);
  const { netns, directory } = node;
  const file = join(root, 'trial.yaml');
  const at = (name: string): string => join(root, 'trial', name);
  const places = { subnetFile: join(directory, 'subnet.env'), cniState: join(directory, 'cni') };
  const settings = { apiVersion: 'tartan.dev/v1', kind: 'Settings', node: { name: 'n1' } };
  const paths = { run: at('run'), state: at('state') };
  writeFileSync(file, JSON.stringify({ ...settings, paths, migration: { flannel: places } }));
  const words = ['dist/tartan', 'migrate', 'flannel', '--dry-run', '-o', 'json', '--config', file];
  const plan = async (): Promise<{ code: number; report: MigrationReport }> => {
    const { code, stdout, stderr } = await netns.run(words);
    assert.equal(stderr, '');
    return { code, report: JSON.parse(stdout) as MigrationReport };
  };
  const links = netns.list('link show');
  if (process.env['TARTAN_FLANNELD'] === undefined) {
    const { code, report } = await plan();
    assert.deepEqual([code, report.problems, report.state], [0, [], 'due']);
    assert.equal(report.steps.length, 5, report.steps.join('\n'));
    assert.match(report.left.join('\n'), /flannel’s chains of iptables/);
  }
  // By its name: a daemon that somebody forgot.
  copyFileSync('/usr/bin/sleep', join(root, 'flanneld'));
  const daemon = netns.start([join(root, 'flanneld'), '60']);
  const refused = await waitFor('it to be seen', async () => {
    const { code, report } = await plan();
    return code === 1 && report;
  });
  assert.match(refused.problems[0]?.path ?? '', /^flanneld/);
  await interrupt(daemon);
  assert.deepEqual(netns.list('link show'), links);
}

/** The command does the same as the agent's start; each time it is killed one step later, until none is left. */
async function killAtEveryStep(run: Node['run'], verb: 'adopt' | 'back'): Promise<number> {
  let killed = 0;
  const words = ['migrate', 'flannel', ...(verb === 'back' ? ['--back'] : [])];
  try {
    for (let renamed = 0; renamed < 20; renamed += 1) {
      // What is noted is not noted again, and what is given back is renamed again, to the same.
      const nth = verb === 'back' ? `:${renamed}` : '';
      process.env['TARTAN_KILL_AT'] = renamed === 0 ? `${verb}:noted` : `${verb}:renamed${nth}`;
      const { code, stderr } = await run(words);
      if (code === 0) break;
      assert.match(stderr, /SIGKILL/);
      killed += 1;
    }
  } finally {
    delete process.env['TARTAN_KILL_AT'];
  }
  return killed;
}

const macOf = (netns: Namespace, name: string): unknown =>
  netns.list<{ address: string }>(`link show ${name}`)[0]?.address;

/** Answers a pod that Tartan made there. */
async function takeOver(from: FlannelNode, cluster: Cluster): Promise<FlannelPod> {
  const { keys, moved, before: old, keep, flannel, backend } = cluster;
  const { index, directory, netns } = from;
  const at = flannel.indexOf(from);
  const hasDevice = backend === 'vxlan';
  const macs = [hasDevice && macOf(netns, 'flannel.1'), macOf(netns, 'cni0')];
  const lease = (await keys.leases()).get(`10.244.${index}.0-24`);
  await from.stopDaemon();
  const settings = {
    road: { type: backend },
    store: { type: 'etcd', etcd: { endpoints: [keys.endpoint] } },
    addresses: { quarantineSeconds: 0 },
    migration: { flannel: { subnetFile: join(directory, 'subnet.env'), cniState: join(directory, 'cni') } },
  };
  mkdirSync(join(directory, 'cni'), { recursive: true });
  const kill = async (run: Node['run']): Promise<void> => {
    // Two pods and one that came late, bridge, tunnel; and once before all of them.
    assert.equal(await killAtEveryStep(run, 'adopt'), 6);
  };
  const before = flannel.length === 3 && at === 1 ? { before: kill } : {};
  const node = await startNode(`n${index}`, settings, { place: netns, ...before });
  moved.push(node);

  const links = namesOf(netns.list('link show'));
  assert.ok(!links.includes('flannel.1') && !links.some((name) => name.startsWith('veth')), links.join(' '));
  const now = [hasDevice && macOf(netns, 'tartan.1'), macOf(netns, 'cni0')];
  assert.deepEqual(now, macs, 'peers and pods know them by these');
  const left = (): unknown[] =>
    netns
      .list<{ readonly dst: string }>('route show proto boot')
      .filter(({ dst }) => dst.startsWith('10.244.'));
  await waitFor('flannel’s routes to be gone', () => left().length === 0);
  assert.equal((await keys.leases()).get(`10.244.${index}.0-24`), lease, 'flannel’s nodes find it as before');

  const fresh = keep(await addPod(node, index, `new${index}`));
  assert.ok(fresh.address.startsWith(`10.244.${index}.`), fresh.address);
  assert.ok(!old.some(({ address }) => address === fresh.address));
  const other = flannel[at + 1];
  if (other !== undefined) {
    const late = keep(await other.addPod(`late${other.index}`));
    for (const pod of [...old, fresh]) await assertReaches(late.netns, pod.address);
  }
  for (const pod of old) await assertReaches(fresh.netns, pod.address);
  for (const pod of old) await assertReaches(pod.netns, fresh.address);

  const tidied = await node.run(['migrate', 'flannel']);
  assert.equal(tidied.code, 0, tidied.stderr);
  assert.match(tidied.stdout, /^removed:\n  flannel’s chains of iptables/m);
  assert.doesNotMatch(await netns.must(['iptables-save']), /FLANNEL/);
  assert.match((await node.run(['migrate', 'flannel'])).stdout, /nothing of it is on this node/);

  const own = old.find(({ id }) => id === `p${index}a`) as FlannelPod;
  const check = await node.cni('CHECK', environment(own), { ...CONFIG, prevResult: own.result });
  assert.equal(check.code, 0, check.stdout);
  return fresh;
}

/** With a pod of flannel's, one that left meanwhile, and one that Tartan made. */
async function goBack(to: FlannelNode, cluster: Cluster, fresh: FlannelPod): Promise<void> {
  const { keys, moved, before, keep, flannel, backend } = cluster;
  const { netns, directory, index } = to;
  const [node] = moved as [Node];
  const passing = await addPod(node, index, 'passing');
  const macs = [backend === 'vxlan' && macOf(netns, 'tartan.1'), macOf(netns, 'cni0')];
  const refused = await node.run(['migrate', 'flannel', '--back']);
  assert.deepEqual([refused.code, /agent: runs/.test(refused.stdout)], [1, true], refused.stdout);
  await node.kill();
  passing.netns.remove();
  const noted = (): string[] =>
    readdirSync(join(directory, 'cni/networks/cbr0')).filter((name) => name.startsWith('10.'));
  writeFileSync(join(directory, 'cni/networks/cbr0', `10.244.${index}.200`), 'of-before\r\neth0');
  const words = ['migrate', 'flannel', '--back'];
  const plan = await node.run([...words, '--dry-run']);
  assert.equal(plan.code, 0, plan.stderr);
  assert.ok(
    noted().includes(`10.244.${index}.200`) && !noted().includes(fresh.address),
    'a trial changes nothing',
  );
  // Before all of them, after each of three pods, and after the bridge.
  assert.equal(await killAtEveryStep((words) => node.run(words), 'back'), 5);
  const living = [...before, fresh].filter((pod) => pod.node === index).map(({ address }) => address);
  assert.deepEqual(noted().toSorted(), living.toSorted());
  const now = [backend === 'vxlan' && macOf(netns, 'flannel.1'), macOf(netns, 'cni0')];
  assert.deepEqual(now, macs);
  assert.match((await node.run(words)).stdout, /nothing on this node is Tartan’s to give back/);

  await to.start();
  await to.follow(keys);
  await purgeBeside(node, to);
  assert.doesNotMatch(await netns.must(['nft', 'list', 'tables']), /tartan/);
  assert.doesNotMatch(netns.ip('-d link show') + netns.ip('route show'), /tartan/);
  assert.match(await netns.must(['iptables-save']), /FLANNEL-POSTRTG/);

  const late = keep(await to.addPod('back'));
  assert.ok(!living.includes(late.address));
  for (const pod of [...before, fresh]) await assertReaches(late.netns, pod.address);
  for (const pod of before) await assertReaches(pod.netns, fresh.address);
  await to.delegateDel(fresh);
  assert.ok(!noted().includes(fresh.address), 'flannel’s plugin gave its address back');
  assert.equal(fresh.netns.list('link show type veth').length, 0);
  assert.equal(flannel.length, 2);
}

/** flanneld runs beside, on a node that was Tartan's from the beginning: what its sysctls were then is no more what they should be. */
async function purgeBeside(node: Node, { netns, directory }: FlannelNode): Promise<void> {
  const values = { 'net/ipv4/ip_forward': '0' };
  writeFileSync(join(node.state, 'sysctls.json'), JSON.stringify({ format: 1, values }));
  const program = join(directory, 'flanneld');
  copyFileSync('/usr/bin/sleep', program);
  const daemon = netns.start([program, '60']);
  const comm = `/proc/${daemon.pid}/comm`;
  await waitFor('flanneld to run', () => readFileSync(comm, 'utf8').trim() === 'flanneld');
  const purged = await node.run(['uninstall', '--purge']);
  daemon.kill('SIGKILL');
  assert.equal(purged.code, 0, purged.stdout + purged.stderr);
  assert.equal((await netns.must(['cat', '/proc/sys/net/ipv4/ip_forward'])).trim(), '1');
}

async function leave({ moved, before, keep }: Cluster): Promise<void> {
  for (const [at, node] of moved.entries()) {
    const pod = before.find(({ id }) => id === `p${at + 1}a`) as FlannelPod;
    const { code, stdout } = await node.cni('DEL', environment(pod), CONFIG);
    assert.equal(code, 0, stdout);
    await waitFor(`the link of ${pod.id} to go`, () => pod.netns.list('link show type veth').length === 0);
    const netns = makeNamespace(`again${at}`);
    const again = { id: `again${at}`, node: at + 1, netns, address: pod.address, result: undefined };
    keep(again);
    const wish = { ...CONFIG, runtimeConfig: { ips: [`${pod.address}/24`] } };
    const added = await waitFor(`${pod.address} to be free`, async () => {
      const { code: refused, stdout: answer } = await node.cni('ADD', environment(again), wish);
      return refused === 0 && answer;
    });
    assert.match(added, new RegExp(`"${pod.address.replaceAll('.', '\\.')}/24"`));
    await assertReaches(netns, before.at(-1)?.address ?? '');
  }
}
