/** doctor, support and uninstall --purge, also without an agent: they go by the kernel, the node's files and the store. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Finding } from '../../src/model/finding.ts';
import { waitFor, whyNoKernel } from './namespace.ts';
import { makeUnderlay, type Node, startNode, type Underlay, whyNoTartan } from './node.ts';
import { makePod, type Pod, statusOf, succeed } from './reliability.ts';

const skip = whyNoKernel(['ip', 'nft', 'tar']) ?? whyNoTartan() ?? false;

type Answer = { removed: string[]; purge?: { removed: string[]; failed: string[] } };

describe('without an agent', { skip }, () => {
  let underlay: Underlay;
  let store: string;
  let node: Node;
  let peer: Node;
  let pod: Pod;
  before(async () => {
    store = mkdtempSync(join(tmpdir(), 'ar-store-'));
    underlay = await makeUnderlay('ar');
    const settings = { network: { name: 'tartan' }, wiring: { type: 'bridge' } };
    node = await startNode('ar-off', settings, { underlay, index: 1, store });
    peer = await startNode('ar-peer', settings, { underlay, index: 2, store });
    pod = makePod(8080);
    await succeed(node, 'ADD', pod);
    await waitFor('the peer', async () => (await statusOf(node)).peers[0]?.state === 'programmed');
  });
  after(async () => {
    for (const one of [node, peer]) await one?.stop();
    underlay?.remove();
    if (pod !== undefined && existsSync(pod.netns.path)) pod.netns.remove();
    rmSync(store, { recursive: true, force: true });
  });

  async function doctor(): Promise<Finding[]> {
    const { stdout, stderr } = await node.run(['doctor', '--all', '-o', 'json']);
    assert.match(stdout, /^\[/, stderr);
    return JSON.parse(stdout) as Finding[];
  }
  const severityOf = (findings: Finding[], check: string): string | undefined =>
    findings.find((finding) => finding.check === check)?.severity;

  async function purge(): Promise<{ removed: string[]; failed: string[] }> {
    const { code, stdout, stderr } = await node.run(['uninstall', '--purge', '-o', 'json']);
    assert.equal(code, 0, stdout + stderr);
    return (JSON.parse(stdout) as Answer).purge ?? assert.fail(stdout);
  }

  async function holdings(): Promise<{ links: string[]; ruleset: string; routes: string[] }> {
    const links = node.netns.list<{ ifname: string }>('link show').map(({ ifname }) => ifname);
    const routes = node.netns.list<{ dst: string }>('route show table main').map(({ dst }) => dst);
    return { links, routes, ruleset: await node.netns.must(['nft', 'list', 'ruleset']) };
  }

  /** What the archive holds, by file name. */
  async function support(): Promise<Map<string, string>> {
    const file = join(node.directory, 'bundle.tar.gz');
    const { code, stdout, stderr } = await node.run(['support', '--file', file]);
    assert.equal(code, 0, stdout + stderr);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    const out = mkdtempSync(join(node.directory, 'bundle-'));
    execFileSync('tar', ['-xzf', file, '-C', out]);
    const names = readdirSync(join(out, 'tartan-support'), { recursive: true, withFileTypes: true });
    return new Map(
      names
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name))
        .map((path) => [relative(join(out, 'tartan-support'), path), readFileSync(path, 'utf8')]),
    );
  }

  test('support packs what it finds, without secrets and for its owner only', async () => {
    appendFileSync(node.settingsFile, '# password: hunter2\n');
    const before = readdirSync(tmpdir()).filter((name) => name.startsWith('tartan-support-'));
    const files = await support();
    for (const name of ['status.json', 'doctor.json', 'facts.json', 'settings.yaml', 'host/routes4.txt'])
      assert.ok(files.has(name), [...files.keys()].join());
    assert.match(files.get('ruleset.txt') ?? '', /table inet tartan/);
    assert.match(files.get('log.txt') ?? '', /the agent serves/);
    assert.ok((JSON.parse(files.get('doctor.json') ?? '') as Finding[]).length > 5);
    assert.match(files.get('settings.yaml') ?? '', /password: "\[redacted\]"/);
    assert.ok(![...files.values()].some((text) => text.includes('hunter2')));
    assert.deepEqual(
      readdirSync(tmpdir()).filter((name) => name.startsWith('tartan-support-')),
      before,
    );
  });

  test('doctor says the same as with an agent, and that there is none', async () => {
    const told = await doctor();
    assert.equal(severityOf(told, 'range-overlap'), 'ok', 'the bridge has the range');
    await node.kill();
    const seen = await doctor();
    assert.equal(severityOf(seen, 'agent'), 'warn');
    const but = (findings: Finding[]): unknown =>
      findings.filter(({ check }) => check !== 'agent' && check !== 'conntrack-room');
    assert.deepEqual(but(seen), but(told));
    const files = await support();
    assert.match(files.get('agent.txt') ?? '', /no agent answers/);
    assert.deepEqual(JSON.parse(files.get('doctor.json') ?? ''), seen);
  });

  test('purge leaves a living pod its link, and the node its subnet', async () => {
    const { removed, failed } = await purge();
    assert.deepEqual(failed, []);
    assert.ok(removed.includes('Node ar-off of the store'), removed.join('\n'));
    const { links, ruleset, routes } = await holdings();
    assert.ok(links.some((name) => name.startsWith('tt')));
    assert.deepEqual(
      links.filter((name) => name.startsWith('tartan') || name === 'cni0'),
      [],
    );
    assert.equal(ruleset, '');
    assert.ok(!routes.some((dst) => dst.startsWith('10.244.')), routes.join());
    assert.ok(existsSync(join(node.directory, 'run/attachments.journal')));
    assert.equal(readdirSync(join(store, 'state/SubnetClaim')).length, 2);
    await waitFor('the peer to forget the node', async () => (await statusOf(peer)).peers.length === 0);
  });

  test('purge without pods leaves nothing, and may be repeated', async () => {
    pod.netns.remove();
    await waitFor(
      'the pod to go',
      async () => !(await holdings()).links.some((name) => name.startsWith('tt')),
    );
    node.netns.ip('link add tt0123456789a type veth peer name xx0');
    const first = await purge();
    assert.deepEqual(first.failed, []);
    const { links } = await holdings();
    assert.deepEqual(links.filter((name) => name !== 'lo' && name !== 'eth0').sort(), []);
    assert.ok(!existsSync(join(node.directory, 'run')));
    assert.ok(!existsSync(node.state));
    assert.equal(readdirSync(join(store, 'state/SubnetClaim')).length, 1, 'the peer keeps its own');
    assert.deepEqual(await purge(), { removed: [], failed: [] });
  });
});

test('a command whose reader has read enough ends in silence', { skip: whyNoTartan() ?? false }, () => {
  const script = '"$0" --help | :; exit "${PIPESTATUS[0]}"';
  const program = join(import.meta.dirname, '../../dist/tartan');
  const done = spawnSync('bash', ['-c', script, program], { encoding: 'utf8' });
  assert.deepEqual([done.status, done.stderr], [0, '']);
});
