/**
 * One release to the other and back, on the state that each has left: the release before is built from its sources. Pods keep their
 * addresses and lose no packet, and each release undoes what the other has done.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { execute, makeNamespace, type Namespace, waitFor, whyNoKernel } from './namespace.ts';
import { makeUnderlay, type Node, startNode, type Underlay, whyNoTartan } from './node.ts';

const ROOT = resolve(import.meta.dirname, '../..');
/** Before there was a release. */
const FIRST = 'cfe534ffd426';

const git = (...words: readonly string[]): string =>
  execFileSync('git', words, { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();

/** The last release, else the state of the tree that counts as one; undefined where the history is not there. */
function findPrevious(): string | undefined {
  try {
    const [tag] = git('tag', '--merged', 'HEAD^', '--sort=-creatordate', 'v*').split('\n');
    return git('rev-parse', '--verify', `${tag === undefined || tag === '' ? FIRST : tag}^{commit}`);
  } catch {
    return undefined;
  }
}

const previous = findPrevious();
const skip =
  whyNoKernel(['ip', 'ping', 'git', 'tar', 'make']) ??
  whyNoTartan() ??
  (previous === undefined ? 'the history of this tree does not reach the release before' : false);

describe('upgrade and downgrade', { skip }, () => {
  let old: string;
  let underlay: Underlay;
  const nodes: Node[] = [];
  const pods: Namespace[] = [];
  before(async () => {
    old = mkdtempSync(join(tmpdir(), 'kd-old-'));
    const archive = execFileSync('git', ['archive', previous ?? ''], { cwd: ROOT, maxBuffer: 1 << 28 });
    execFileSync('tar', ['-x', '-C', old], { input: archive });
    symlinkSync(join(ROOT, 'node_modules'), join(old, 'node_modules'));
    execFileSync(process.execPath, ['scripts/build.ts'], { cwd: old, stdio: 'pipe' });
    underlay = await makeUnderlay('kd-up');
  });
  after(async () => {
    for (const node of nodes) await node.stop();
    for (const pod of pods) pod.remove();
    underlay?.remove();
    rmSync(old, { recursive: true, force: true });
  });

  type Pod = { readonly netns: Namespace; readonly address: string; ask(verb: string): Promise<void> };

  async function attach(node: Node, id: string): Promise<Pod> {
    const netns = makeNamespace(`kd-${id}`);
    pods.push(netns);
    const environment = { CNI_CONTAINERID: id, CNI_IFNAME: 'eth0', CNI_NETNS: netns.path };
    const config = { cniVersion: '1.0.0', name: 'tartan', type: 'tartan-cni' };
    const added = await node.cni('ADD', environment, config);
    assert.equal(added.code, 0, added.stdout + node.log());
    const prevResult = JSON.parse(added.stdout) as { readonly ips: readonly { readonly address: string }[] };
    const ask = async (verb: string): Promise<void> => {
      const { code, stdout } = await node.cni(verb, environment, { ...config, prevResult });
      assert.equal(code, 0, `${verb} ${id}: ${stdout}\n${node.log()}`);
    };
    return { netns, ask, address: prevResult.ips[0]?.address.split('/')[0] ?? assert.fail(added.stdout) };
  }

  for (const profile of ['flannel', 'canal'])
    test(`${profile}: pods go on, and each release reads what the other wrote`, async () => {
      const store = mkdtempSync(join(old, 'store-'));
      const start = nodes.length + 1;
      for (const index of [start, start + 1])
        nodes.push(await startNode(`kd${index}`, { profile }, { underlay, index, store }));
      const [one = assert.fail(), two = assert.fail()] = nodes.slice(-2);
      const first = await attach(one, `${profile}-a`);
      const far = await attach(two, `${profile}-b`);
      const reaches = (from: Pod, to: Pod) => async (): Promise<boolean> =>
        (await from.netns.run(['ping', '-c1', '-W1', to.address])).code === 0;
      await waitFor('the nodes to reach each other', reaches(first, far), 30_000);
      const pings = first.netns.start(['ping', '-i0.05', '-W1', far.address], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let output = '';
      pings.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()));
      for (const node of [one, two]) await node.restart(join(old, 'dist/tartan'));
      await first.ask('CHECK');
      const second = await attach(one, `${profile}-c`);
      assert.notEqual(second.address, first.address);
      await waitFor('a pod of the release before', reaches(far, second), 30_000);
      for (const node of [one, two]) await node.restart();
      for (const pod of [first, second, far]) await pod.ask('CHECK');
      assert.ok(await reaches(second, far)());
      const ended = new Promise((done) => pings.once('exit', done));
      pings.kill('SIGINT');
      await ended;
      assert.match(output, / 0% packet loss/, output.slice(-400));
      await one.restart(join(old, 'dist/tartan'));
      await first.ask('DEL');
      await one.restart();
      await second.ask('DEL');
      const left = await execute(['ip', '-n', one.netns.name, '-br', 'link', 'show', 'type', 'veth']);
      assert.deepEqual(
        left.stdout.split('\n').filter((line) => line !== '' && !line.startsWith('eth0')),
        [],
      );
    });
});
