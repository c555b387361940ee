/**
 * What a pod's packets pay for policies: new connections, a TCP stream and small UDP packets through one path per setting,
 * all of them there at once and measured in turns. Peers are the same path without policy, and kube-router's chains.
 * One setting is there twice: how far it is from itself is what a ratio can tell.
 */
import { closeSync } from 'node:fs';
import { inNetns, openNetns } from '#kernel/netns.ts';
import { openPolicy } from '#kernel/nftables/policy/policy.ts';
import type { HostScope, Policy } from '#model/policy.ts';
import type { PolicyWorld } from '#model/workload.ts';
import { createBook } from '#policy/book.ts';
import { compile } from '#policy/compile/compiler.ts';
import { makePolicy, makeRule } from '#policy/testing/rules.ts';
import { hostEndpoint } from '#policy/testing/world.ts';
import { execute } from '../../test/host/namespace.ts';
import { buildProgram } from '../program.ts';
import { median, type Row } from '../report.ts';
import { elsewhere, makeWorld, nodeName, onPod, parse, PORT, type Written } from './cluster.ts';
import { type Flavour, loadWalk } from './kube-router.ts';
import { makePath, type Path } from './path.ts';

export const ROUNDS = Number(process.env.BENCH_POLICY_ROUNDS ?? 24);
const ROUND_MS = Number(process.env.BENCH_POLICY_MS ?? 250);

type Prepare = (path: Path) => void | Promise<void>;

const TRACKED = 'table inet peer { chain f { type filter hook forward priority 0; ct state new accept; }; }';

/** Our table; the process that owns it may end, as an agent may. */
function loadProgram(world: PolicyWorld, policies: readonly Policy[]): Prepare {
  return ({ node }) => {
    const netns = openNetns(node.path);
    const table = inNetns(netns, openPolicy);
    closeSync(netns);
    table.replacePolicy(compile(createBook({ policies }), world, { node: nodeName(0) }));
    table.close();
  };
}

const walk =
  (flavour: Flavour, count: number): Prepare =>
  ({ node }) =>
    loadWalk(node, flavour, count);

const ofHosts = (host: HostScope): Policy =>
  makePolicy({
    name: host,
    host,
    isolates: { ingress: true, egress: host === 'forward' },
    subjects: { op: 'in', scope: 'fact', key: 'kind', values: ['host'] },
    ingress: [makeRule('allow')],
    egress: [makeRule('allow')],
  });

function settings() {
  const world = makeWorld();
  const allInterfaces = hostEndpoint('all', { node: nodeName(0), interface: '*' });
  const hosted = { ...world, endpoints: [...world.endpoints, allInterfaces] };
  const of = (...written: readonly Written[]): Prepare => loadProgram(world, written.flatMap(parse));
  return {
    bare: () => {},
    tracked: async ({ node }) => void (await node.must(['nft', TRACKED])),
    none: of(),
    away10000: of(...elsewhere(10_000)),
    own1: of(...onPod(1)),
    own1Again: of(...onPod(1)),
    far100: of(...onPod(1), ...elsewhere(100)),
    far1000: of(...onPod(1), ...elsewhere(1_000)),
    far10000: of(...onPod(1), ...elsewhere(10_000)),
    own100: of(...onPod(100)),
    own1000: of(...onPod(1_000)),
    walk1: walk('iptables-nft', 1),
    walk100: walk('iptables-nft', 100),
    walk1000: walk('iptables-nft', 1_000),
    legacy1000: walk('iptables-legacy', 1_000),
    host: loadProgram(hosted, []),
    hostForward: loadProgram(hosted, [ofHosts('forward')]),
    hostEarly: loadProgram(hosted, [ofHosts('forward'), ofHosts('pre-dnat')]),
  } satisfies Record<string, Prepare>;
}

type Setting = keyof ReturnType<typeof settings>;
type Comparison = readonly [what: string, ours: Setting, peer: Setting, ratio?: number];

const COMPARISONS: readonly Comparison[] = [
  ['1 on the pod / the same once more (what noise is)', 'own1Again', 'own1'],
  ['connection tracking only / nothing', 'tracked', 'bare'],
  ['table without policies / connection tracking only', 'none', 'tracked'],
  ['1 on the pod / table without policies', 'own1', 'none'],
  ['10,000 elsewhere, none on the pod / no policies', 'away10000', 'none', 0.95],
  ['10,000 elsewhere, none on the pod / connection tracking only', 'away10000', 'tracked'],
  ['100 elsewhere, 1 on the pod / 1 on the pod', 'far100', 'own1', 0.95],
  ['1,000 elsewhere, 1 on the pod / 1 on the pod', 'far1000', 'own1', 0.95],
  ['10,000 elsewhere, 1 on the pod / 1 on the pod', 'far10000', 'own1', 0.95],
  ['10,000 elsewhere, 1 on the pod / no policies', 'far10000', 'none'],
  ['100 on the pod / 1', 'own100', 'own1'],
  ['1,000 on the pod / 1', 'own1000', 'own1', 0.9],
  ['1 on the pod / 1 chain, iptables-nft', 'own1', 'walk1'],
  ['100 on the pod / 100 chains, iptables-nft', 'own100', 'walk100'],
  ['1,000 on the pod / 1,000 chains, iptables-nft', 'own1000', 'walk1000'],
  ['1,000 on the pod / 1,000 chains, iptables-legacy', 'own1000', 'legacy1000'],
  ['host endpoint for all interfaces / none', 'host', 'none'],
  ['with a policy for forwarded traffic / none', 'hostForward', 'none'],
  ['with a policy before DNAT as well / none', 'hostEarly', 'none'],
];

/** `work`: what `cpuUs` is counted for. */
type Load = {
  readonly title: string;
  readonly unit: string;
  readonly work: string;
  run(path: Path): Promise<Figures>;
};
type Figures = { readonly rate: number; readonly cpuUs: number };

/** Undone with the stack. */
function loads(undo: DisposableStack): readonly Load[] {
  const { path: program, remove } = buildProgram('flow');
  undo.defer(remove);
  const ask = async (argv: readonly string[], attempts = 10): Promise<Figures> => {
    const { code, stdout, stderr } = await execute(argv);
    const [rate = 0, cpuUs = 0] = stdout.split('\t').map(Number);
    if (code === 0) return { rate, cpuUs };
    // A run in which nothing came through at all says that somebody else had the machine.
    if (attempts === 1) throw new Error(`${argv.join(' ')}: ${stderr}${stdout}`);
    return ask(argv, attempts - 1);
  };
  const ends = ({ from, to, address }: Path): string[] => [from.path, to.path, address, String(PORT)];
  const flows = (mode: string, about: Pick<Load, 'title' | 'unit' | 'work'>): Load => ({
    ...about,
    run: (path) => ask([program, mode, ...ends(path), '1', String(ROUND_MS)]),
  });
  return [
    flows('connect', { title: 'new connections', unit: 'conn/s', work: 'conn' }),
    flows('tcp', { title: 'TCP stream', unit: 'Mbit/s', work: 'GB' }),
    flows('dialog', { title: 'UDP, 64 bytes', unit: 'kpps', work: 'packets' }),
    // Nobody answers, so no packet is of an established connection: each is judged.
    flows('udp', { title: 'UDP, 64 bytes, unanswered', unit: 'kpps', work: 'packets' }),
  ];
}

type Samples = Map<Setting, Figures[]>;

/** How a row reads what was measured; more is better. */
type Reading = {
  readonly title: string;
  readonly unit: string;
  readonly of: (figures: Figures) => number;
};

/** Rates are what users see; work for the CPU time of both ends is what a machine with other work to do can still tell. */
const readings = ({ unit, work }: Load): readonly Reading[] => [
  { title: '', unit, of: ({ rate }) => rate },
  { title: ', per CPU time', unit: `${work}/cpu·s`, of: ({ cpuUs }) => 1e6 / cpuUs },
];

function rowOf(title: string, reading: Reading, samples: Samples, comparison: Comparison): Row {
  const [what, ours, peer, ratio] = comparison;
  const [left = [], right = []] = [ours, peer].map((name) => samples.get(name)?.map(reading.of));
  return {
    what: `${title}${reading.title}: ${what}`,
    unit: reading.unit,
    ours: median(left),
    peer: median(right),
    pairs: left.map((value, round) => value / (right[round] ?? Number.NaN)),
    ...(ratio === undefined ? {} : { target: { sense: '≥' as const, ratio } }),
  };
}

function rowsOf(load: Load, samples: Samples): Row[] {
  return readings(load).flatMap((reading) =>
    COMPARISONS.map((one) => rowOf(load.title, reading, samples, one)),
  );
}

/** The microseconds of CPU time that one connection or packet takes, by setting: steadier than rates. */
function cpuOf({ title }: Load, samples: Samples): readonly [string, Record<string, number>] {
  const each = [...samples].map(([name, figures]) => [name, median(figures.map(({ cpuUs }) => cpuUs))]);
  return [title, Object.fromEntries(each) as Record<string, number>];
}

export async function benchTraffic(): Promise<{ readonly rows: Row[]; readonly kept: object }> {
  await using undo = new AsyncDisposableStack();
  const programs = undo.use(new DisposableStack());
  const all = loads(programs);
  const paths = new Map<Setting, Path>();
  for (const [name, prepare] of Object.entries(settings()) as [Setting, Prepare][]) {
    const path = await makePath(`pk-${name}`);
    undo.defer(() => path.remove());
    await prepare(path);
    paths.set(name, path);
  }
  const samples = new Map(all.map((load) => [load, new Map() as Samples]));
  for (let round = 0; round < ROUNDS; round += 1) {
    const names = [...paths.keys()];
    // Nobody always comes behind the same one.
    const order = round % 2 === 0 ? names : names.toReversed();
    for (const name of [...order.slice(round % names.length), ...order.slice(0, round % names.length)]) {
      for (const load of all) {
        const figures = await load.run(paths.get(name) as Path);
        const of = samples.get(load) as Samples;
        of.set(name, [...(of.get(name) ?? []), figures]);
      }
    }
  }
  const rows = [...samples].flatMap(([load, of]) => rowsOf(load, of));
  const cpuUs = Object.fromEntries([...samples].map(([load, of]) => cpuOf(load, of)));
  return { rows, kept: { cpuUs } };
}
