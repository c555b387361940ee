/**
 * A cluster of three nodes moves from flannel to Tartan node by node, while all its pods ping each other ten times a second. The
 * set-up is flannel's to the letter (./flannel-node.ts); etcd, the CNI plugins and the kernel are the real ones.
 */
import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  type FlannelNode,
  type FlannelPod,
  type Keys,
  NET_CONF,
  PREFIX,
  startFlannel,
  startKeys,
} from './flannel-node.ts';
import { makeNamespace, type Namespace, waitFor, whyNoKernel } from './namespace.ts';
import type { MigrationReport } from '../../src/migration/report.ts';
import { makeUnderlay, type Node, REFERENCE_PLUGINS, startNode, whyNoTartan } from './node.ts';
import { interrupt, startPing } from './steady-ping.ts';

const skip =
  whyNoKernel(['ip', 'bridge', 'ping', 'iptables-restore', 'etcd']) ??
  whyNoTartan() ??
  (existsSync(join(REFERENCE_PLUGINS, 'bridge')) ? false : 'needs the reference CNI plugins');

const INDICES = [1, 2, 3] as const;

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

async function addPod(node: Node, id: string): Promise<FlannelPod> {
  const netns = makeNamespace(id);
  const { code, stdout } = await node.cni('ADD', environment({ id, netns }), CONFIG);
  assert.equal(code, 0, `${stdout}\n${node.log()}`);
  const result = JSON.parse(stdout) as { ips: { address: string }[] };
  return { id, netns, address: result.ips[0]?.address.split('/')[0] ?? '', result };
}

test('three nodes move from flannel, and no packet is lost', { skip, timeout: 300_000 }, async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'km-'));
  const underlay = await makeUnderlay('km');
  const cleanup: (() => unknown)[] = [
    () => underlay.remove(),
    () => rmSync(root, { recursive: true, force: true }),
  ];
  t.after(async () => {
    for (const undo of cleanup.toReversed()) await undo();
  });
  const keys = await startKeys(underlay, root);
  cleanup.push(() => keys.stop());
  await keys.put(`${PREFIX}/config`, NET_CONF);
  const flannel: FlannelNode[] = [];
  for (const index of INDICES) {
    const node = await startFlannel({ underlay, index, directory: join(root, `n${index}`) }, keys);
    cleanup.push(
      () => node.netns.remove(),
      () => node.stopDaemon(),
    );
    flannel.push(node);
  }
  const followAll = () => Promise.all(flannel.slice(moved.length).map((node) => node.follow(keys)));
  const moved: Node[] = [];
  cleanup.push(() => Promise.all(moved.map((node) => node.stop())));
  await followAll();
  const pods: FlannelPod[] = [];
  const keep = (pod: FlannelPod): FlannelPod => {
    cleanup.push(() => pod.netns.remove());
    pods.push(pod);
    return pod;
  };
  for (const node of flannel)
    for (const letter of ['a', 'b']) keep(await node.addPod(`p${node.index}${letter}`));
  const before = [...pods];
  for (const from of before)
    for (const to of before) await waitFor(`${from.id} to reach ${to.id}`, () => reaches(from, to), 20_000);

  const pings = before.flatMap((from) => [
    ...before.filter((to) => to.id[1] !== from.id[1]).map((to) => startPing(from.netns, to.address)),
    startPing(from.netns, '172.30.0.254'),
  ]);

  await t.test('the plan changes nothing, and tells all that stands against it', () =>
    tellPlan(flannel[0], root),
  );

  for (const [at, node] of flannel.entries())
    await t.test(`node ${node.index} is taken over`, () =>
      takeOver(node, { keys, moved, root, keep, before, flannel, at }),
    );

  await t.test('nothing was lost', async () => {
    const lost = await Promise.all(pings.map((ping) => ping.lost()));
    assert.deepEqual(
      lost.filter((each) => each !== ''),
      [],
    );
  });

  await t.test('pods of before leave by Tartan, and their addresses come back', () =>
    leave(moved, before, keep),
  );

  await t.test('a restarted agent has nothing to take over, and keeps what it had', async () => {
    const [node] = moved as [Node];
    const seen = node.netns.list('link show');
    await node.restart();
    assert.equal(node.log().match(/taken over: adopt the bridge/g)?.length, 1);
    assert.deepEqual(namesOf(node.netns.list('link show')), namesOf(seen));
  });
});

const namesOf = (links: readonly Record<string, unknown>[]): string[] =>
  links.map((link) => String(link['ifname'])).sort();

async function reaches(from: FlannelPod, to: FlannelPod): Promise<boolean> {
  return (await from.netns.run(['ping', '-n', '-c', '1', '-W', '1', to.address])).code === 0;
}

type Scene = {
  readonly keys: Keys;
  readonly moved: Node[];
  readonly root: string;
  readonly keep: (pod: FlannelPod) => FlannelPod;
  readonly before: readonly FlannelPod[];
  readonly flannel: readonly FlannelNode[];
  readonly at: number;
};

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
async function killAtEveryStep(run: Node['run']): Promise<void> {
  let killed = 0;
  try {
    for (const place of ['adopt:noted', ...Array<string>(20).fill('adopt:renamed')]) {
      process.env['TARTAN_KILL_AT'] = place;
      const { code, stderr } = await run(['migrate', 'flannel']);
      if (code === 0) break;
      assert.match(stderr, /SIGKILL/);
      killed += 1;
    }
  } finally {
    delete process.env['TARTAN_KILL_AT'];
  }
  // Two pods and one that came late, bridge, tunnel; and once before all of them.
  assert.equal(killed, 6);
}

async function takeOver(from: FlannelNode, scene: Scene): Promise<void> {
  const { keys, moved, before: old, keep, flannel, at } = scene;
  const { index, directory, netns } = from;
  const macOf = (name: string): unknown => netns.list<{ address: string }>(`link show ${name}`)[0]?.address;
  const macs = [macOf('flannel.1'), macOf('cni0')];
  const lease = (await keys.leases()).get(`10.244.${index}.0-24`);
  await from.stopDaemon();
  const settings = {
    store: { type: 'etcd', etcd: { endpoints: [keys.endpoint] } },
    addresses: { quarantineSeconds: 0 },
    migration: { flannel: { subnetFile: join(directory, 'subnet.env'), cniState: join(directory, 'cni') } },
  };
  mkdirSync(join(directory, 'cni'), { recursive: true });
  const before = at === 1 ? killAtEveryStep : undefined;
  const node = await startNode(`n${index}`, settings, { place: netns, ...(before && { before }) });
  moved.push(node);

  const links = namesOf(netns.list('link show'));
  assert.ok(!links.includes('flannel.1') && !links.some((name) => name.startsWith('veth')), links.join(' '));
  assert.deepEqual([macOf('tartan.1'), macOf('cni0')], macs, 'peers and pods know them by these');
  await waitFor(
    'flannel’s routes to be gone',
    () => netns.list('route show proto boot dev tartan.1').length === 0,
  );
  assert.equal((await keys.leases()).get(`10.244.${index}.0-24`), lease, 'flannel’s nodes find it as before');

  const fresh = keep(await addPod(node, `new${index}`));
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
}

async function leave(
  moved: readonly Node[],
  before: readonly FlannelPod[],
  keep: (pod: FlannelPod) => FlannelPod,
): Promise<void> {
  for (const [at, node] of moved.entries()) {
    const pod = before.find(({ id }) => id === `p${at + 1}a`) as FlannelPod;
    const { code, stdout } = await node.cni('DEL', environment(pod), CONFIG);
    assert.equal(code, 0, stdout);
    await waitFor(`the link of ${pod.id} to go`, () => pod.netns.list('link show type veth').length === 0);
    const netns = makeNamespace(`again${at}`);
    const again = { id: `again${at}`, netns, address: pod.address, result: undefined };
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
