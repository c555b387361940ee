/**
 * Which addresses policies judge when a packet is translated on its way, with a real kube-proxy and our own host ports:
 * that of the client as the backend's node is given it, that of the backend and never that of its Service (after DNAT,
 * before SNAT); on every path, in both families, TCP and UDP, with routed pods and pods of a bridge. Denied packets leave
 * nothing in connection tracking, and connections that live are cut by the same addresses.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { parse, stringify } from 'yaml';
import { HAIRPIN_MODES } from '../../src/model/settings.ts';
import { kubeProxyVersion, MODE, whyNoKubeProxy } from '../runtimes/kube-proxy.ts';
import { waitFor, whyNoKernel } from './namespace.ts';
import { whyNoTartan } from './node.ts';
import {
  admits,
  CLOSED,
  DOORS,
  doorsPolicy,
  hairpinPaths,
  type Path,
  pathsIn,
  pathsOut,
  pathsToOtherNode,
  type Question,
  questionsOf,
  type Rules,
  serviceManifests,
  servicesPolicy,
  WAYS,
  waysPolicy,
} from './policy-services-rules.ts';
import { awaitPolicies, type Cluster, FAMILIES, startCluster } from './policy-services.ts';

const skip =
  whyNoKernel(['nft', 'iptables', 'ip6tables', 'conntrack']) ?? whyNoKubeProxy() ?? whyNoTartan() ?? false;

function isAllowed({ addresses }: Cluster, { seen }: Path, rule: Rules[number] | undefined): boolean {
  return seen === 'exempt' || (rule !== undefined && admits(rule, seen, addresses));
}

/** Asks at every door or way of every path; all answers that are not as the rules say. */
async function assertJudged(cluster: Cluster, paths: readonly Path[], rules: Rules): Promise<void> {
  const wrong = paths.map(async (path) => {
    const questions = questionsOf(path, rules);
    const answers = await cluster.talkers[path.from].ask(questions);
    return questions.flatMap(({ index, family, protocol }, at) => {
      const answer = answers[at] ?? '';
      const expected = isAllowed(cluster, path, rules[index]) ? path.to : 'silence';
      const what = `${path.from}, ${path.title}, ${protocol}, IPv${family}, ${rules[index]?.title}`;
      return answer.split(' ')[0] === expected ? [] : [`${what}: ${answer}, not ${expected}`];
    });
  });
  assert.deepEqual((await Promise.all(wrong)).flat(), []);
}

/** What a denied connection leaves behind on the node that judges it, where a permitted one leaves an entry. */
async function assertNoTraces(cluster: Cluster): Promise<void> {
  const { addresses, nodes, talkers } = cluster;
  const titles = [
    'ClusterIP, same node',
    'NodePort, pod on the same node',
    'host port',
    'host port, hairpin',
  ];
  const paths = pathsIn(addresses).filter(({ title }) => titles.includes(title));
  assert.equal(paths.length, titles.length);
  const nobody = DOORS.findIndex(({ places }) => places.length === 0);
  const asked = await Promise.all(
    paths.map(async (path) => {
      const questions = questionsOf(path, DOORS).filter(({ index }) => index === 0 || index === nobody);
      await talkers[path.from].ask(questions);
      return questions;
    }),
  );
  const entries = await nodes[0]?.netns.must(['sh', '-c', 'conntrack -L -f ipv4; conntrack -L -f ipv6']);
  for (const { path, index, family, protocol, address, port } of asked.flat()) {
    const ends = `src=${addresses[path.from][family]} dst=${address} sport=\\d+ dport=${port} `;
    const entry = new RegExp(`^${protocol} .* ${ends}`, 'm');
    assert.equal(entry.test(entries ?? ''), index === 0, `${path.title}, door ${index}: ${entry}`);
  }
}

type Stream = { readonly path: Path; readonly question: Question; readonly count: () => Promise<number> };

/** One connection per path, family and transport, through the door or way that is open to all. */
async function openStreams({ talkers }: Cluster, paths: readonly Path[], rules: Rules): Promise<Stream[]> {
  const opened = new Map<string, number>();
  const streams: Stream[] = [];
  for (const path of paths) {
    const questions = questionsOf(path, rules.slice(0, 1));
    const talker = talkers[path.from];
    await talker.open(questions);
    for (const question of questions) {
      const at = opened.get(path.from) ?? 0;
      opened.set(path.from, at + 1);
      streams.push({ path, question, count: async () => (await talker.count())[at] ?? 0 });
    }
  }
  return streams;
}

const titleOf = ({ path, question }: Stream): string =>
  `${path.from}, ${path.title}, ${question.protocol}, IPv${question.family}`;

async function awaitFlow(streams: readonly Stream[], isAlive: (path: Path) => boolean): Promise<void> {
  await Promise.all(
    streams.map((stream) => {
      const alive = isAlive(stream.path);
      return waitFor(
        `${titleOf(stream)}: ${alive ? 'to go on' : 'to stand still'}`,
        async () => {
          const before = await stream.count();
          await sleep(400);
          return (await stream.count()) > before === alive;
        },
        40_000,
      );
    }),
  );
}

async function cutStreams(cluster: Cluster): Promise<void> {
  const { addresses, talkers } = cluster;
  const [paths, others] = [pathsIn(addresses), pathsOut(addresses)];
  const entering = await openStreams(cluster, paths, DOORS);
  const leaving = await openStreams(cluster, others, WAYS);
  try {
    await awaitFlow([...entering, ...leaving], () => true);
    const door = { title: 'some', places: ['beside', 'near', 'tunnel1'] } as const;
    const way = { title: 'some', places: ['away', 'outside'] } as const;
    cluster.apply('doors', [doorsPolicy(addresses, DOORS.with(0, door))]);
    cluster.apply('ways', [waysPolicy(addresses, WAYS.with(0, way))]);
    await awaitFlow(entering, (path) => isAllowed(cluster, path, door));
    await awaitFlow(leaving, (path) => isAllowed(cluster, path, way));
    // Those that stand still were waited for: the others have gone on all the while.
    await awaitFlow(
      [...entering, ...leaving].filter(({ path }) =>
        isAllowed(cluster, path, path.from === 'guest' ? way : door),
      ),
      () => true,
    );
    cluster.apply('doors', [doorsPolicy(addresses)]);
    cluster.apply('ways', [waysPolicy(addresses)]);
    await awaitFlow([...entering, ...leaving], () => true);
  } finally {
    for (const talker of Object.values(talkers)) await talker.close();
  }
}

/** Answers, resets and ICMP errors come back to a pod whose policy lets it out, and find it behind the masquerade. */
async function assertAnswered({ addresses, talkers }: Cluster): Promise<void> {
  for (const family of FAMILIES) {
    const address = addresses.outside[family];
    const port = pathsOut(addresses).at(-1)?.road(family, 0).port ?? 0;
    const targets = [port, CLOSED].flatMap((port) =>
      (['tcp', 'udp'] as const).map((protocol) => ({ protocol, address, port })),
    );
    const masqueraded = `outside ${addresses.node1[family]}`;
    assert.deepEqual(await talkers.guest.ask(targets), [masqueraded, masqueraded, 'refused', 'refused']);
  }
}

/** Calico's `destination.services`: the backends that EndpointSlices name, now these and then those. */
async function followServices(cluster: Cluster): Promise<void> {
  const { addresses, talkers } = cluster;
  const index = WAYS.length;
  const [byBeside, byAway] = pathsOut(addresses);
  assert.ok(byBeside !== undefined && byAway !== undefined);
  const reached = async (): Promise<string[]> => {
    const targets = [byBeside, byAway].flatMap(({ road }) =>
      FAMILIES.flatMap((family) =>
        [index, index + 1].flatMap((at) =>
          (['tcp', 'udp'] as const).map((protocol) => ({ protocol, ...road(family, at) })),
        ),
      ),
    );
    const answers = await talkers.guest.ask(targets);
    return answers.filter((answer) => answer !== 'silence').map((answer) => answer.split(' ')[0] ?? '');
  };
  for (const backend of ['beside', 'away'] as const) {
    cluster.apply('services', [servicesPolicy(), ...serviceManifests(addresses, backend, index)]);
    await awaitPolicies(cluster, 3);
    // TCP of one port, in both families, and nothing else.
    await waitFor(
      `the backend to be ${backend}`,
      async () => (await reached()).join() === `${backend},${backend}`,
    );
  }
  cluster.apply('services', []);
  await awaitPolicies(cluster, 2);
  assert.deepEqual(await reached(), []);
}

const VARIANTS = [
  { wiring: 'routed', road: 'vxlan' },
  { wiring: 'bridge', road: 'host-gw' },
] as const;

for (const { wiring, road } of VARIANTS)
  describe(`${wiring} pods behind kube-proxy (${MODE}), ${road}`, { skip }, () => {
    let cluster: Cluster;
    before(async () => {
      console.log(`# kube-proxy ${kubeProxyVersion()}, mode ${MODE}`);
      cluster = await startCluster({ wiring: { type: wiring }, road: { type: road } });
      cluster.apply('doors', [doorsPolicy(cluster.addresses)]);
      cluster.apply('ways', [waysPolicy(cluster.addresses)]);
      await awaitPolicies(cluster, 2);
    });
    after(() => cluster?.[Symbol.asyncDispose]());

    test('ingress: the source that the backend’s policy sees', () =>
      assertJudged(cluster, pathsIn(cluster.addresses), DOORS));
    test('egress: the destination that the client’s policy sees', () =>
      assertJudged(cluster, pathsOut(cluster.addresses), WAYS));
    test('egress: a NodePort or host port of another node is that node’s address and port', () => {
      // The other ways name their own port, not the one that this packet still has.
      const ways = WAYS.map((way) => (way.places === 'all' ? { ...way, places: [] } : way));
      return assertJudged(cluster, pathsToOtherNode(cluster.addresses), ways);
    });
    test('answers and ICMP errors to a masqueraded pod', () => assertAnswered(cluster));
    test('denied packets leave no entry of connection tracking', () => assertNoTraces(cluster));
    test('connections that live are judged alike when policies change', () => cutStreams(cluster));
    test('services as peers of egress', () => followServices(cluster));
    for (const hairpin of wiring === 'bridge' ? HAIRPIN_MODES : [])
      test(`hairpin, ${hairpin}`, async () => {
        const [node] = cluster.nodes;
        assert.ok(node !== undefined);
        const settings = parse(readFileSync(node.settingsFile, 'utf8')) as object;
        writeFileSync(
          node.settingsFile,
          stringify({ ...settings, wiring: { type: 'bridge', bridge: { hairpin } } }),
        );
        await node.restart();
        await awaitPolicies(cluster, 2);
        await assertJudged(cluster, hairpinPaths(cluster.addresses), DOORS);
      });
  });
