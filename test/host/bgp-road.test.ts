/**
 * The road `bgp`, profile calico: labs of real agents and BIRDs on two subnets with a router between, which runs FRR and speaks
 * BGP with them as a peer outside, with passwords. Objects of Calico say who speaks with whom.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type Lab, startLab } from '../../src/lab/lab.ts';
import { labDirectory } from '../../src/lab/topology.ts';
import {
  assertAllReach,
  awaitRoutes,
  birdPid,
  DEADLINE_MS,
  type Frr,
  inRouter,
  learnedBy,
  must,
  routesOf,
  startFrr,
  withoutLoss,
  wordsOf,
  writeSecret,
} from './bgp-lab.ts';
import { waitFor, whyNoKernel } from './namespace.ts';
import { whyNoTartan } from './node.ts';

const skip = whyNoKernel(['bird', 'ip', 'ping', '/usr/lib/frr/bgpd']) ?? whyNoTartan() ?? false;
const PASSWORD = 'correct-horse$battery';
const NEXT_PASSWORD = 'changed-horse$battery';

/** A node on the first subnet, one more, and one behind the router. */
const LANS = [
  { nodes: ['node1', 'node2'], four: '192.168.10.1', six: 'fd00:1::1' },
  { nodes: ['node3'], four: '192.168.20.1', six: 'fd00:2::1' },
];

/** Nodes tell the router of their own pods alone: what they learned of each other it would send in circles. */
const FILTER = `
apiVersion: projectcalico.org/v3
kind: BGPFilter
metadata: { name: own-only }
spec:
  exportV4: [{ source: RemotePeers, action: Reject }]
  exportV6: [{ source: RemotePeers, action: Reject }]
  importV4: [{ cidr: 203.0.113.0/24, matchOperator: Equal, action: Reject }]
`;

function peersOf(key = 'router'): string {
  return LANS.flatMap(({ nodes, four, six }) =>
    [four, six].map(
      (address) => `---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: { name: "router-${address.replaceAll(/[:.]+/g, '-')}" }
spec:
  nodeSelector: kubernetes.io/hostname in { ${nodes.map((name) => `'${name}'`).join(', ')} }
  peerIP: "${address}"
  asNumber: 65001
  password: { secretKeyRef: { name: bgp, key: ${key} } }
  filters: [own-only]
`,
    ),
  ).join('');
}

function frrOf(lab: Lab): string {
  const ends = lab.nodes.flatMap(({ addresses }) => [addresses[4], addresses[6]]);
  const neighbors = ends.flatMap((end) => [
    ` neighbor ${end} remote-as 64512`,
    ` neighbor ${end} password ${PASSWORD}`,
    ` neighbor ${end} timers connect 1`,
    ` neighbor ${end} advertisement-interval 0`,
  ]);
  const family = (number: 4 | 6, networks: string[]): string[] => [
    ` address-family ipv${number} unicast`,
    ...networks.map((network) => `  network ${network}`),
    ...ends.filter((end) => end.includes(':') === (number === 6)).map((end) => `  neighbor ${end} activate`),
    ' exit-address-family',
  ];
  return [
    'router bgp 65001',
    ' bgp router-id 192.168.10.1',
    ' no bgp ebgp-requires-policy',
    ' no bgp default ipv4-unicast',
    ' no bgp network import-check',
    ...neighbors,
    ...family(4, ['198.51.100.0/24', '203.0.113.0/24']),
    ...family(6, ['2001:db8:100::/48']),
    '',
  ].join('\n');
}

describe('profile calico: BGP by BIRD, and FRR as a peer outside', { skip }, () => {
  let lab: Lab;
  let frr: Frr | undefined;
  const secrets = mkdtempSync(join(tmpdir(), 'bg-secrets-'));

  before(async () => {
    writeSecret(secrets, ['mesh', 'word'], 'mesh-one');
    lab = await startLab({
      name: `bg-calico-${process.pid}`,
      profile: 'calico',
      settings: {
        network: { ipv6: { range: 'fd77::/48' } },
        road: { mode: 'Never' },
        routing: { secrets, meshPasswordFile: join(secrets, 'mesh/word') },
      },
      readyMs: DEADLINE_MS,
    });
    for (const { name } of lab.nodes) await lab.addPod(name, `pod-${name}`);
  });
  after(async () => {
    frr?.stop();
    await lab?.down();
    rmSync(secrets, { recursive: true, force: true });
  });

  const addressesOf = (pod: string): readonly string[] =>
    lab.pods().find(({ name }) => name === pod)?.addresses ?? assert.fail(pod);

  /** Routes that FRR has put into the router's kernel. */
  function routerHas(): string[] {
    const lists = ['-4', '-6'].map((family) =>
      inRouter(lab, 'ip', '-j', family, 'route', 'show', 'proto', 'bgp'),
    );
    return lists
      .flatMap((list) => (JSON.parse(list || '[]') as { dst: string }[]).map(({ dst }) => dst))
      .sort();
  }

  type Peers = {
    readonly peers: readonly { readonly name: string; readonly road: string; readonly state: string }[];
  };

  test('what the mesh tells is in the kernel, and every node is programmed by it', async () => {
    const shown = await waitFor(
      'all peers of node1',
      async () => {
        const { stdout } = await lab.tartan('node1', 'status', '-o', 'json');
        const { peers } = JSON.parse(stdout) as Peers;
        const lines = peers.map(({ name, road, state }) => `${name} ${road} ${state}`);
        return lines.every((line) => line.endsWith(' programmed')) && lines;
      },
      DEADLINE_MS,
    );
    assert.deepEqual(shown, ['node2 bgp programmed', 'node3 bgp programmed']);
    assert.equal((await learnedBy(lab, 'node1')).length, 4);
    const { sessions, announced } = await routesOf(lab, 'node1');
    assert.deepEqual(
      sessions.map(({ peer, as, state }) => [peer, as, state]),
      ['node2', 'node3', 'node2', 'node3'].map((name) => [`mesh: ${name}`, 64_512, 'Established']),
    );
    assert.deepEqual(
      announced.map(({ kind, to }) => `${kind} to ${to}`),
      ['pods to all peers', 'pods to all peers'],
    );
  });

  test('nodes of one subnet reach each other without anybody else’s help', async () => {
    for (const address of addressesOf('pod-node2'))
      await must(lab, 'pod-node1', 'ping', '-c', '1', '-W', '5', address);
  });

  test('a BGPPeer whose Secret is not there is a problem and no session', async () => {
    lab.apply('filter', FILTER);
    lab.apply('router', peersOf());
    const { problems, sessions } = await awaitRoutes(
      lab,
      'node1',
      'to miss the Secret',
      (routes) => routes.problems.length > 0,
    );
    assert.match(
      problems.map(({ path, message }) => `${path}: ${message}`).join('\n'),
      /bgp\/router: .*not there/,
    );
    assert.equal(sessions.length, 4);
  });

  test('with it, FRR learns all pods’ routes, and the nodes what FRR announces but what the filter keeps', async () => {
    writeSecret(secrets, ['bgp', 'router'], PASSWORD);
    frr = await startFrr(lab, { bgpd: frrOf(lab) });
    await waitFor('FRR to have the routes of all pods', () => routerHas().length === 6, DEADLINE_MS);
    for (const { name } of lab.nodes) {
      const { learned, sessions, problems } = await awaitRoutes(
        lab,
        name,
        'to have what FRR announces',
        (routes) =>
          routes.sessions.every(({ up }) => up) &&
          ['198.51.100.0/24', '2001:db8:100::/48'].every((prefix) =>
            routes.learned.some((route) => route.prefix === prefix && route.used),
          ),
      );
      assert.deepEqual(problems, []);
      assert.equal(sessions.length, 6);
      const external = learned.find(({ prefix }) => prefix === '198.51.100.0/24');
      assert.deepEqual(external?.asPath, [65_001]);
      const refused = learned.find(({ prefix }) => prefix === '203.0.113.0/24');
      assert.equal(refused?.used, false);
      assert.match(refused.why ?? '', /refused on import by filter own-only/);
      const inKernel = await learnedBy(lab, name);
      assert.equal(inKernel.length, 6, inKernel.join());
    }
  });

  test('every pod reaches every pod, in both families, across the router', () => assertAllReach(lab));

  test('BIRD killed: no packet is lost while it is away and when it is back', async () => {
    const killed = birdPid(lab, 'node1');
    const targets = [...addressesOf('pod-node2'), ...addressesOf('pod-node3')];
    await withoutLoss(lab, 'pod-node1', targets, async () => {
      process.kill(killed, 'SIGKILL');
      await awaitRoutes(
        lab,
        'node1',
        'to have its sessions again',
        ({ up, sessions }) =>
          up && birdPid(lab, 'node1') !== killed && sessions.every((session) => session.up),
      );
      await awaitRoutes(lab, 'node1', 'to have told its pods again', ({ sessions }) =>
        sessions.every(({ exported }) => exported > 0),
      );
      await waitFor('FRR to have the routes of all pods', () => routerHas().length === 6, DEADLINE_MS);
    });
  });

  test('the agent killed: BIRD goes on, no packet is lost, and the next agent takes the daemon over', async () => {
    const pid = birdPid(lab, 'node1');
    await withoutLoss(
      lab,
      'pod-node1',
      [...addressesOf('pod-node2'), ...addressesOf('pod-node3')],
      async () => {
        await lab.kill('node1');
        await lab.start('node1');
      },
    );
    assert.equal(birdPid(lab, 'node1'), pid);
    assert.equal((await routesOf(lab, 'node1')).sessions.filter(({ up }) => up).length, 6);
  });

  /** In BIRD's configuration, and all sessions are there again. */
  async function awaitPassword(node: string, password: string): Promise<void> {
    const { paths } = lab.nodes.find(({ name }) => name === node) ?? assert.fail(node);
    const has = (): boolean => readFileSync(join(paths.run, 'bird/bird.conf'), 'utf8').includes(password);
    await waitFor(`BIRD of ${node} to have ${password}`, has, DEADLINE_MS);
  }

  const allUp = async (): Promise<void> => {
    for (const { name } of lab.nodes)
      await awaitRoutes(lab, name, 'to have all sessions', ({ sessions }) =>
        sessions.every(({ up, exported }) => up && exported > 0),
      );
  };

  test('the mesh’s password changes, on each node some seconds apart: no packet is lost', async () => {
    const pids = lab.nodes.map(({ name }) => birdPid(lab, name));
    await withoutLoss(
      lab,
      'pod-node1',
      [...addressesOf('pod-node2'), ...addressesOf('pod-node3')],
      async () => {
        writeSecret(secrets, ['mesh', 'word'], 'mesh-two');
        for (const { name } of lab.nodes) await awaitPassword(name, 'mesh-two');
        await allUp();
        // What was held is let go with the next look at the sessions.
        for (const { paths } of lab.nodes)
          await waitFor(
            'no route to be held',
            () =>
              !/protocol static held.*\n.*\n.*\n.*\n  route/.test(
                readFileSync(join(paths.run, 'bird/bird.conf'), 'utf8'),
              ),
            DEADLINE_MS,
          );
      },
    );
    assert.ok(lab.nodes.every(({ name }, index) => birdPid(lab, name) !== pids[index]));
  });

  test('the password with FRR changes, there last: no packet through it is lost', async () => {
    await withoutLoss(
      lab,
      'pod-node1',
      [...addressesOf('pod-node2'), ...addressesOf('pod-node3')],
      async () => {
        writeSecret(secrets, ['bgp', 'router'], NEXT_PASSWORD);
        for (const { name } of lab.nodes) await awaitPassword(name, NEXT_PASSWORD);
        const ends = lab.nodes.flatMap(({ addresses }) => [addresses[4], addresses[6]]);
        const words = ends.map((end) => `neighbor ${end} password ${NEXT_PASSWORD}`);
        frr?.vtysh('configure', 'router bgp 65001', ...words);
        await allUp();
      },
    );
  });

  test('another password: the session is down and says why; the file as it was brings it back', async () => {
    writeSecret(secrets, ['bgp', 'other'], 'wrong');
    lab.apply('router', peersOf('other'));
    const { sessions } = await awaitRoutes(
      lab,
      'node1',
      'to lose the router',
      (routes) => routes.sessions.filter(({ up }) => !up).length === 2,
    );
    for (const { up, why } of sessions) if (!up) assert.notEqual(why ?? '', '');
    lab.apply('router', peersOf());
    await awaitRoutes(lab, 'node1', 'to have the router again', (routes) =>
      routes.sessions.every(({ up }) => up),
    );
  });

  test('no password is anywhere but in its file and in BIRD’s configuration, which are root’s', async () => {
    const { stdout } = await lab.exec('node1', ['grep', '-rlF', NEXT_PASSWORD, labDirectory(lab.name)]);
    const files = stdout.trim().split('\n').sort();
    assert.deepEqual(files, lab.nodes.map(({ paths }) => join(paths.run, 'bird/bird.conf')).sort());
    for (const file of files) assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.ok(!JSON.stringify(await routesOf(lab, 'node1')).includes(NEXT_PASSWORD));
  });

  test('a BGPPeer that is removed takes its session and its routes along', async () => {
    lab.apply('router', '');
    for (const { name } of lab.nodes)
      await awaitRoutes(lab, name, 'to have the mesh alone', ({ sessions }) => sessions.length === 4);
    await waitFor('FRR to have no routes', () => routerHas().length === 0, DEADLINE_MS);
    await waitFor(
      'the kernel to have none of FRR’s',
      async () => (await learnedBy(lab, 'node1')).length === 4,
      DEADLINE_MS,
    );
  });

  test('a node that leaves: its routes are withdrawn, and nothing of its BIRD is left', async () => {
    const pid = birdPid(lab, 'node3');
    const run = lab.nodes.find(({ name }) => name === 'node3')?.paths.run ?? assert.fail();
    await lab.removePod('pod-node3');
    await lab.kill('node3', 'SIGTERM');
    const { code, stdout, stderr } = await lab.tartan('node3', 'uninstall', '--purge');
    assert.equal(code, 0, stdout + stderr);
    await waitFor('BIRD to have ended', () => wordsOf(pid) === '');
    assert.ok(!existsSync(join(run, 'bird')), 'its files are gone');
    assert.deepEqual(await learnedBy(lab, 'node3'), []);
    for (const name of ['node1', 'node2'])
      await waitFor(
        `${name} to have lost its routes`,
        async () => (await learnedBy(lab, name)).length === 2,
        DEADLINE_MS,
      );
    assert.equal((await routesOf(lab, 'node1')).sessions.length, 2);
    assert.ok(readFileSync(join(labDirectory(lab.name), 'node1/agent.log'), 'utf8').length > 0);
  });
});
