/**
 * From pod to pod, on one node and across two, beside the same path made by hand with ip, bridge and nft. Short runs in
 * pairs, the order of each pair turned, so that both see the same machine: the ratio of each pair counts, and the lower
 * end of its 95 % interval is held against the target. That is judged with the same kernel objects on both sides, rules
 * included. What our rules cost is told beside it, from fewer pairs: the hand-made path then has one chain that
 * masquerades, or no rule at all (and no connection tracking).
 */
import { renderTable } from '#lib/table.ts';
import { execute } from '../test/host/namespace.ts';
import { whyNoTartan } from '../test/host/node.ts';
import { compareObjects, type Difference } from './objects.ts';
import { makeByHand, makeOurs, type PodName, type Rules, type Setup, type Side } from './paths.ts';
import { buildProgram, type Program } from './program.ts';
import { keepReport, median, printReport, type Row, uncertainty } from './report.ts';

/** What the hand-made path has, and how many pairs are measured at least; BENCH_RULES: that alone. */
const PAIRS: Readonly<Record<Rules, number>> = {
  ours: Number(process.env.BENCH_PAIRS ?? 24),
  masquerade: 8,
  none: 8,
};
/**
 * Where the ratios scatter, more pairs are measured, up to so many times: until the mean is known to this. When to stop
 * depends on the scatter alone, never on the mean.
 */
const MOST = 4;
const TOLERANCE = 0.03;
const FLOW_MS = Number(process.env.BENCH_FLOW_MS ?? 150);
const RULES =
  process.env.BENCH_RULES === undefined
    ? (Object.keys(PAIRS) as Rules[])
    : [rulesOf(process.env.BENCH_RULES)];
/** BENCH_SETUP: only set-ups whose title holds this. */
const ONLY = process.env.BENCH_SETUP ?? '';
const TARGET = { sense: '≥', ratio: 0.95 } as const;

function rulesOf(text: string): Rules {
  if (text === 'none' || text === 'masquerade' || text === 'ours') return text;
  throw new Error(`BENCH_RULES is ${text}; known are none, masquerade, ours`);
}

type Road = { readonly title: string; readonly from: PodName; readonly to: PodName };
const WITHIN: Road = { title: 'one node', from: 'a1', to: 'a2' };
const ACROSS: Road = { title: 'across', from: 'a1', to: 'b1' };

const SETUPS: readonly (Setup & { readonly roads: readonly Road[] })[] = [
  { title: 'bridge, VXLAN', settings: {}, roads: [WITHIN, ACROSS] },
  { title: 'bridge, host-gw', settings: { road: { type: 'host-gw' } }, roads: [ACROSS] },
  {
    title: 'bridge, DirectRouting',
    settings: { road: { type: 'vxlan', vxlan: { directRouting: true } } },
    roads: [ACROSS],
  },
  { title: 'routed, VXLAN', settings: { wiring: { type: 'routed' } }, roads: [WITHIN, ACROSS] },
];

/** `perCpu`: how `work` per second of CPU time reads, given the microseconds of a unit of work. */
type Flow = {
  readonly title: string;
  readonly words: readonly [mode: string, streams: number];
  readonly unit: string;
  readonly perCpu: { readonly unit: string; readonly of: (us: number) => number };
};
const perMs = { unit: '/cpu·ms', of: (us: number): number => 1000 / us };
const perSecond = { unit: 'GB/cpu·s', of: (us: number): number => 1e6 / us };
const FLOWS: readonly Flow[] = [
  { title: 'TCP, one stream', words: ['tcp', 1], unit: 'Mbit/s', perCpu: perSecond },
  { title: 'TCP, four streams', words: ['tcp', 4], unit: 'Mbit/s', perCpu: perSecond },
  { title: 'UDP, 64 bytes', words: ['udp', 1], unit: 'kpps', perCpu: perMs },
  { title: 'TCP round trips', words: ['rr', 1], unit: 'k/s', perCpu: perMs },
];

type Figures = { readonly rate: number; readonly cpuUs: number; readonly p50: number; readonly p99: number };
type Pairs = { readonly ours: Figures[]; readonly byHand: Figures[] };

let port = 20_000;

/** A run in which nothing came through at all is repeated: the other side's counterpart is not thrown away for it. */
async function runFlow(program: Program, side: Side, road: Road, flow: Flow): Promise<Figures> {
  const [from, to] = [side.pods[road.from], side.pods[road.to]];
  const [mode, streams] = flow.words;
  for (let attempt = 1; ; attempt += 1) {
    port = port === 60_000 ? 20_000 : port + 1;
    const words = [mode, from.netns.path, to.netns.path, to.address, port, streams, FLOW_MS].map(String);
    const { code, stdout, stderr } = await execute([program.path, ...words]);
    const [rate = 0, cpuUs = 0, p50 = 0, p99 = 0] = stdout.trim().split('\t').map(Number);
    if (code === 0) return { rate, cpuUs, p50, p99 };
    if (attempt === 3) throw new Error(`flow ${words.join(' ')}: ${stderr}${stdout}`);
  }
}

function ratios({ ours, byHand }: Pairs, pick: (from: Figures) => number): number[] {
  return ours.map((figures, index) => pick(figures) / pick(byHand[index] ?? figures));
}

function isVague(pairs: Pairs): boolean {
  return [({ rate }: Figures) => rate, ({ cpuUs }: Figures) => 1 / cpuUs].some(
    (pick) => uncertainty(ratios(pairs, pick)) > TOLERANCE,
  );
}

async function measurePairs(
  sides: { ours: Side; byHand: Side },
  count: number,
  run: (side: Side) => Promise<Figures>,
): Promise<Pairs> {
  const pairs: Pairs = { ours: [], byHand: [] };
  for (const who of ['ours', 'byHand'] as const) await run(sides[who]);
  for (let pair = 0; pair < count || (pair < MOST * count && isVague(pairs)); pair += 1) {
    const order = pair % 2 === 0 ? (['ours', 'byHand'] as const) : (['byHand', 'ours'] as const);
    for (const who of order) pairs[who].push(await run(sides[who]));
  }
  return pairs;
}

function rowsOf(title: string, flow: Flow, { ours, byHand }: Pairs, judge: boolean): Row[] {
  const row = (what: string, unit: string, pick: (from: Figures) => number, judged = judge): Row => {
    return {
      what: `${title}: ${what}`,
      unit,
      ours: median(ours.map(pick)),
      peer: median(byHand.map(pick)),
      pairs: ratios({ ours, byHand }, pick),
      ...(judged ? { target: TARGET } : {}),
    };
  };
  return [
    row(flow.title, flow.unit, ({ rate }) => rate),
    row(`${flow.title}, per CPU time`, flow.perCpu.unit, ({ cpuUs }) => flow.perCpu.of(cpuUs)),
    ...(flow.words[0] === 'rr'
      ? [
          row('round trip p50', 'µs', ({ p50 }) => p50, false),
          row('round trip p99', 'µs', ({ p99 }) => p99, false),
        ]
      : []),
  ];
}

/** Equal differences of several places are one line. */
function printDifferences(title: string, differences: readonly Difference[]): void {
  const alike = Map.groupBy(
    differences,
    (one) => `${one.reason ?? ''}\t${one.attribute}\t${one.ours}\t${one.byHand}`,
  );
  const lines = [...alike.values()].map(([one, ...more]) => [
    `${one?.where}${more.length > 0 ? ` and ${more.length} more` : ''}`,
    one?.attribute ?? '',
    one?.ours ?? '',
    one?.byHand ?? '',
    one?.reason ?? 'UNEXPLAINED',
  ]);
  console.log(
    `\n${title}: ${differences.length} attributes of kernel objects differ from the hand-made path\n${renderTable(['where', 'attribute', 'ours', 'by hand', 'why'], lines)}`,
  );
}

export async function benchDataPath(): Promise<void> {
  const why = whyNoTartan();
  if (why !== undefined) return console.log(`data-path: not run: ${why}`);
  const program = buildProgram('flow');
  try {
    for (const rules of RULES) await benchRules(program, rules);
  } finally {
    program.remove();
  }
}

async function benchRules(program: Program, rules: Rules): Promise<void> {
  const rows: Row[] = [];
  const kept: Record<string, unknown> = {};
  for (const setup of SETUPS.filter(({ title }) => title.includes(ONLY))) {
    const ours = await makeOurs(setup);
    const byHand = await makeByHand(ours, rules).catch(async (error: unknown) => {
      await ours.stop();
      throw error;
    });
    try {
      const differences = await compareObjects(ours, byHand);
      printDifferences(setup.title, differences);
      kept[`differences, ${setup.title}`] = differences;
      for (const road of setup.roads) {
        const title = `${setup.title}, ${road.title}`;
        for (const flow of FLOWS) {
          const run = (side: Side): Promise<Figures> => runFlow(program, side, road, flow);
          const pairs = await measurePairs({ ours, byHand }, PAIRS[rules], run);
          rows.push(...rowsOf(title, flow, pairs, rules === 'ours'));
          kept[`${title}, ${flow.title}`] = pairs;
        }
      }
    } finally {
      await byHand.stop();
      await ours.stop();
    }
  }
  printReport(
    `pod to pod; ${PAIRS[rules]} to ${MOST * PAIRS[rules]} interleaved pairs of ${FLOW_MS} ms each, medians; ratio: mean of the pairs, 95 %: its lower bound; peer: the same path by hand; its nftables: ${rules}`,
    rows,
  );
  keepReport(`data-path-${rules}`, { at: new Date().toISOString(), rows, ...kept });
}
