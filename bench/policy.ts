/**
 * Network policy: compiling and loading 10,000 policies, changes to them, and what new connections cost beside 0 to
 * 10,000 of them. Peers are the same path with fewer policies, and a walk through one chain per policy (kube-router's
 * layout). Everything happens in namespaces of its own.
 */
import { execFileSync } from 'node:child_process';
import { closeSync } from 'node:fs';
import { pid } from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { inNetns, openNetns, ready } from '#kernel/netns.ts';
import { openPolicy, type PolicyTable } from '#kernel/nftables/policy/policy.ts';
import { type HostScope, PROTOCOL, type Policy } from '#model/policy.ts';
import type { PolicyProgram } from '#model/policy-program.ts';
import type { Labels, Node, Pod, PolicyWorld } from '#model/workload.ts';
import { address } from '#net/address.ts';
import { createBook } from '#policy/book.ts';
import { compile, createCompiler } from '#policy/compile/compiler.ts';
import { parsePolicy } from '#policy/frontends/index.ts';
import { makePolicy, makeRule } from '#policy/testing/rules.ts';
import { hostEndpoint } from '#policy/testing/world.ts';
import { manifestOf } from '#model/manifest.ts';
import { makeWire, type Wire } from '../test/host/policy-wire.ts';
import { processMb } from './memory.ts';
import { buildProgram } from './program.ts';
import { keepReport, median, percentile, printReport, type Row } from './report.ts';

const PODS = Number(process.env.BENCH_PODS ?? 10_000);
const POLICIES = Number(process.env.BENCH_POLICIES ?? 10_000);
const NODES = PODS / 250;
const NAMESPACES = 200;
/** An agent has run for long when something changes. */
const WARM = 50;
const JOINS = 500;
const CHANGES = 300;
const ROUNDS = Number(process.env.BENCH_POLICY_ROUNDS ?? 21);
const ROUND_MS = '300';
const SETTLE_MS = 150;
const PORT = 5201;

/** The same figures in every run. */
let state = 12_345;
function random(below: number): number {
  state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
  return state % below;
}

type Json = Readonly<Record<string, unknown>>;
const app = (n: number): Json => ({ podSelector: { matchLabels: { app: `a${n}` } } });
const port = (port: number | string, protocol = 'TCP'): Json => ({ protocol, port });

function makePod(index: number): Pod {
  const round = Math.floor(index / NAMESPACES);
  return {
    kind: 'pod',
    namespace: `ns${index % NAMESPACES}`,
    name: `p${index}`,
    labels: { app: `a${round % 10}`, tier: ['web', 'db', 'cache'][random(3)] ?? '' },
    node: `n${(round * 7 + index) % NODES}`,
    account: 'default',
    addresses: [address(`10.64.${index >> 8}.${index & 255}`), address(`fd01::${(index + 1).toString(16)}`)],
    ports: [{ name: 'http', protocol: PROTOCOL.tcp, port: 8080 }],
    hostNetwork: false,
  };
}

/** Two pods of `measured` are those of the wire. */
function makeCluster(): PolicyWorld {
  const measured = ['a', 'b'].map((name, index): Pod => ({
    ...makePod(0),
    namespace: 'measured',
    name,
    labels: { app: name },
    node: 'n0',
    addresses: [address(`10.244.0.${index + 1}`), address(`fd00::${index + 1}`)],
  }));
  const names = Array.from(
    { length: NAMESPACES },
    (_, n) => [`ns${n}`, { team: `t${n % 20}` }] as [string, Labels],
  );
  const nodes = Array.from({ length: NODES }, (_, n) => {
    const own = [address(`192.0.2.${n + 1}`), address(`2001:db8::${(n + 1).toString(16)}`)];
    return [`n${n}`, { labels: {}, addresses: own }] as [string, Node];
  });
  return {
    endpoints: [...Array.from({ length: PODS }, (_, index) => makePod(index)), ...measured],
    namespaces: new Map<string, Labels>([...names, ['measured', {}]]),
    accounts: new Map(),
    nodes: new Map(nodes),
    services: new Map(),
    names: new Map(),
    failsafe: { ingress: [], egress: [] },
  };
}

function parse(name: string, namespace: string, spec: Json): Policy[] {
  const head = { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', metadata: { name, namespace } };
  const { policies, problems } = parsePolicy(manifestOf(name, { ...head, spec }));
  if (problems.length > 0) throw new Error(JSON.stringify(problems));
  return [...policies];
}

/** One of four kinds, for a tenth of the pods of a namespace. */
function ordinary(index: number, exact = 80 + random(20)): Policy[] {
  const round = Math.floor(index / NAMESPACES);
  const team = { namespaceSelector: { matchLabels: { team: `t${random(20)}` } } };
  const network = { ipBlock: { cidr: `172.${16 + random(16)}.${random(256)}.0/24` } };
  const from = [[app(random(10))], [app(random(10)), { ...team, ...app(random(10)) }], [network]][index % 4];
  const subject = app(round % 10);
  const spec =
    from === undefined
      ? {
          egress: [{ to: [app(random(10))], ports: [port(53, 'UDP')] }, { to: [network] }],
          policyTypes: ['Egress'],
        }
      : { ingress: [{ from, ports: [port(exact), port('http')] }] };
  return parse(`np${index}`, `ns${index % NAMESPACES}`, { ...subject, ...spec });
}

const elsewhere = (count: number): Policy[] => Array.from({ length: count }, (_, n) => ordinary(n)).flat();

/** The first lets the measured connections pass; the others are for other peers and ports. */
function onPod(count: number): Policy[] {
  const subject = { podSelector: { matchLabels: { app: 'b' } } };
  return Array.from({ length: count }, (_, n) => {
    const network = { ipBlock: { cidr: `172.${16 + (n % 16)}.${n % 256}.0/24` } };
    const from = n === 0 ? [{ podSelector: { matchLabels: { app: 'a' } } }] : [network, app(n % 10)];
    return parse(`on${n}`, 'measured', {
      ...subject,
      ingress: [{ from, ports: [port(n === 0 ? PORT : 10_000 + n)] }],
    });
  }).flat();
}

const ALL_INTERFACES = hostEndpoint('all', { node: 'n0', interface: '*' });
const ofHosts = (host: HostScope): Policy =>
  makePolicy({
    name: host,
    host,
    isolates: { ingress: true, egress: host === 'forward' },
    subjects: { op: 'in', scope: 'fact', key: 'kind', values: ['host'] },
    ingress: [makeRule('allow')],
    egress: [makeRule('allow')],
  });

function timed<T>(work: () => T): [T, number] {
  const began = performance.now();
  const made = work();
  return [made, performance.now() - began];
}

/** Milliseconds from a change of the world or the book to the kernel. */
function benchChanges(table: PolicyTable): Row[] {
  let world = makeCluster();
  const policies = elsewhere(POLICIES);
  const joined = { namespaceSelector: {}, podSelector: { matchLabels: { joined: 'yes' } } };
  const using = Array.from({ length: 100 }, (_, n) =>
    parse(`join${n}`, `ns${n}`, { podSelector: {}, ingress: [{ from: [joined], ports: [port(7_000 + n)] }] }),
  ).flat();
  let book = createBook({ policies });
  const compiler = createCompiler('n0');
  const [, compiling] = timed(() => compiler.update(book, world));
  const [, loading] = timed(() => table.replacePolicy(compiler.program()));
  const rows: Row[] = [
    {
      what: `${POLICIES} policies, ${PODS} pods: compile and load`,
      unit: 'ms',
      ours: compiling + loading,
      target: { sense: '≤', limit: 2_000 },
    },
    {
      what: 'memory of this process',
      unit: 'MB',
      ours: processMb(pid, 'VmRSS'),
      target: { sense: '≤', limit: 400 },
    },
  ];
  const step = (): number =>
    timed(() => {
      const delta = compiler.update(book, world);
      if (delta !== undefined) table.loadPolicy(delta);
    })[1];
  book = createBook({ policies: [...policies, ...using] });
  step();
  const join = Array.from({ length: WARM + JOINS }, (_, n) => {
    const endpoints = [...world.endpoints];
    const at = 1_000 + n * 3;
    const pod = endpoints[at] as Pod;
    endpoints[at] = { ...pod, labels: { ...pod.labels, joined: 'yes' } };
    world = { ...world, endpoints };
    return step();
  });
  const change = Array.from({ length: WARM + CHANGES }, (_, n) => {
    const at = random(policies.length);
    policies.splice(at, 1, ...ordinary(at, 1_000 + n));
    book = createBook({ policies: [...policies, ...using] });
    return step();
  });
  const row = (what: string, values: readonly number[], limit: number): Row[] => [
    { what: `${what}, p50`, unit: 'ms', ours: median(values) },
    { what: `${what}, p99`, unit: 'ms', ours: percentile(values, 0.99), target: { sense: '≤', limit } },
  ];
  return [
    ...rows,
    ...row('a pod joins a selector of 100 policies', join.slice(WARM), 5),
    ...row('one policy of all changes (book made before)', change.slice(WARM), 25),
  ];
}

/** One chain per policy, walked one after another, beside our table that is away. */
function chainWalk(count: number): string {
  const chains = Array.from({ length: count }, (_, n) => {
    const last = n === count - 1 ? `ip saddr 10.244.0.1 tcp dport ${PORT} accept;` : '';
    return `chain p${n} { ip saddr 172.${16 + (n % 16)}.${n % 256}.0/24 tcp dport ${10_000 + n} accept; ${last} }`;
  });
  const jumps = Array.from({ length: count }, (_, n) => `jump p${n}`);
  const walk = `chain walk { ct state established,related accept; ${jumps.join('; ')}; drop; }`;
  const forward = 'chain f { type filter hook forward priority 0; ip daddr 10.244.0.2 jump walk; }';
  return `table inet peer {\n${chains.join('\n')}\n${walk}\n${forward}\n}`;
}

const NO_PEER = 'add table inet peer; delete table inet peer';

type Setting = { readonly program?: PolicyProgram; readonly peer?: string };

async function benchConnections(wire: Wire, table: PolicyTable): Promise<Row[]> {
  const world = makeCluster();
  const program = (policies: readonly Policy[]): Setting => ({
    program: compile(createBook({ policies }), world, { node: 'n0' }),
  });
  const hosted = { ...world, endpoints: [...world.endpoints, ALL_INTERFACES] };
  const withHost = (policies: readonly Policy[]): Setting => ({
    program: compile(createBook({ policies }), hosted, { node: 'n0' }),
  });
  const settings: Readonly<Record<string, Setting>> = {
    tracked: {
      peer: 'table inet peer { chain f { type filter hook forward priority 0; ct state new accept; }; }',
    },
    none: program([]),
    far100: program([...onPod(1), ...elsewhere(100)]),
    far1000: program([...onPod(1), ...elsewhere(1_000)]),
    far10000: program([...onPod(1), ...elsewhere(10_000)]),
    own1: program(onPod(1)),
    own100: program(onPod(100)),
    own1000: program(onPod(1_000)),
    walk1000: { peer: chainWalk(1_000) },
    host: withHost([]),
    hostForward: withHost([ofHosts('forward')]),
    hostEarly: withHost([ofHosts('forward'), ofHosts('pre-dnat')]),
  };
  const rates = await measure(wire, table, settings);
  const row = (what: string, [ours, peer]: readonly [string, string], ratio?: number): Row => ({
    what,
    unit: 'conn/s',
    ours: median(rates.get(ours) ?? []),
    peer: median(rates.get(peer) ?? []),
    pairs: (rates.get(ours) ?? []).map((rate, round) => rate / (rates.get(peer)?.[round] ?? Number.NaN)),
    ...(ratio === undefined ? {} : { target: { sense: '≥' as const, ratio } }),
  });
  return [
    row('table without policies / connection tracking only', ['none', 'tracked']),
    row('1 on the pod / none', ['own1', 'none']),
    row('100 elsewhere / none elsewhere', ['far100', 'own1'], 0.95),
    row('1,000 elsewhere / none elsewhere', ['far1000', 'own1'], 0.95),
    row('10,000 elsewhere / none elsewhere', ['far10000', 'own1'], 0.95),
    row('100 on the pod / 1', ['own100', 'own1']),
    row('1,000 on the pod / 1', ['own1000', 'own1'], 0.9),
    row('1,000 on the pod / a walk through 1,000 chains', ['own1000', 'walk1000']),
    row('host endpoint for all interfaces / none', ['host', 'none']),
    row('with a policy for forwarded traffic / none', ['hostForward', 'none']),
    row('with a policy before DNAT as well / none', ['hostEarly', 'none']),
  ];
}

async function measure(
  wire: Wire,
  table: PolicyTable,
  settings: Readonly<Record<string, Setting>>,
): Promise<Map<string, number[]>> {
  const connections = buildProgram('connections');
  const rates = new Map<string, number[]>();
  const [from, to] = wire.pods.map(({ namespace }) => namespace.path) as [string, string];
  try {
    for (let round = 0; round < ROUNDS; round += 1) {
      for (const [name, { program, peer }] of Object.entries(settings)) {
        if (program === undefined) table.removePolicy();
        else table.replacePolicy(program);
        const inside = ['netns', 'exec', wire.node.name, 'nft', '-f', '-'];
        execFileSync('ip', inside, { input: `${NO_PEER}\n${peer ?? ''}\n` });
        // The kernel still gives back the old table and spreads the hashes of the new one.
        await sleep(SETTLE_MS);
        const words = [from, to, '10.244.0.2', String(PORT), ROUND_MS];
        const [rate = ''] = execFileSync(connections.path, words, { encoding: 'utf8' }).split('\t');
        rates.set(name, [...(rates.get(name) ?? []), Number(rate)]);
      }
    }
  } finally {
    connections.remove();
  }
  return rates;
}

export async function benchPolicy(): Promise<void> {
  await ready;
  const wire = await makeWire('bp');
  const netns = openNetns(wire.node.path);
  const table = inNetns(netns, openPolicy);
  closeSync(netns);
  try {
    const rows = [...benchChanges(table), ...(await benchConnections(wire, table))];
    printReport('Network policy', rows);
    keepReport('policy', { rows });
  } finally {
    table.close();
    wire.remove();
  }
}
