/**
 * `node scripts/kernels.ts`: finds out what each supported kernel lacks, by trying, and writes the table of
 * docs/kernels.md. Debian's kernels are booted under QEMU (test/vm), this host's is tried as it is. What
 * `tartan doctor` says on each is asked of an agent that runs there.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { execPath } from 'node:process';
import { FEATURES, type Feature } from '../test/vm/features.ts';
import { provideKernel } from '../test/vm/kernel.ts';
import { runInMachine } from '../test/vm/machine.ts';
import type { Inspection } from '../test/vm/guest/inspect.ts';

const PAGE = 'docs/kernels.md';
const INSPECT = [execPath, 'test/vm/guest/inspect.ts'];
const tell = (line: string): void => console.error(`# ${line}`);

function parse(output: string): Inspection {
  const line = output.split('\n').find((each) => each.startsWith('{'));
  if (line === undefined) throw new Error(`no answer from the kernel's inspection:\n${output}`);
  return JSON.parse(line) as Inspection;
}

async function inspectGuest(series: '6.1' | '6.12'): Promise<Inspection> {
  const kernel = await provideKernel(series, tell);
  tell(`booting ${kernel.release}`);
  const { output } = await runInMachine(kernel, { argv: INSPECT });
  return parse(output);
}

const HEAD = {
  '6.1': 'Debian 12: 6.1',
  '6.12': 'Debian 13, bookworm-security: 6.12',
  host: 'a custom one',
} as const;

function renderTable(columns: readonly { title: string; found: Inspection }[]): string {
  const cells = (row: readonly string[]): string => `| ${row.join(' | ')} |`;
  const rows = Object.entries<Feature>(FEATURES).map(([name, feature]) => [
    feature.what,
    ...columns.map(({ found }) => (found.features[name] === true ? 'yes' : '**no**')),
    `\`${feature.modules.join(' ')}\``,
    feature.use === '' ? 'not used yet' : feature.use,
    feature.without === '' ? '–' : feature.without,
  ]);
  const doctor = [
    '`tartan doctor`, problems of the kernel',
    ...columns.map(({ found }) => found.doctor.join('; ') || 'none'),
    '',
    '',
    '',
  ];
  const titles = columns.map(({ title, found }) => `${title} (${found.release})`);
  const head = ['needs', ...titles, 'modules', 'used for', 'without it'];
  return [cells(head), cells(head.map(() => '---')), ...[...rows, doctor].map(cells)].join('\n');
}

const columns = [
  { title: HEAD['6.1'], found: await inspectGuest('6.1') },
  { title: HEAD['6.12'], found: await inspectGuest('6.12') },
  {
    title: HEAD.host,
    found: parse(execFileSync(INSPECT[0] ?? '', INSPECT.slice(1), { encoding: 'utf8' })),
  },
];
const [before = '', , after = ''] = readFileSync(PAGE, 'utf8').split(
  /(?<=<!-- table -->\n)|(?=<!-- end -->)/,
);
writeFileSync(PAGE, `${before}${renderTable(columns)}\n${after}`);
tell(`wrote ${PAGE}`);
