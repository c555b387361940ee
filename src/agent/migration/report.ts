/** `tartan migrate flannel`: what is to be done on this node, and doing it: without an agent the take-over, beside one the tidying. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { readText } from './gather.ts';
import { gatherBack, handBack } from './hand-back.ts';
import { gatherFlannel, takeOverFlannel } from './take-over.ts';
import { describeFlannel, isDue } from '#migration/flannel.ts';
import { describeBack, isBackDue } from '#migration/flannel-back.ts';
import type { MigrationReport } from '#migration/report.ts';
import { portmapContainers, removalOf } from '#migration/rules.ts';
import { Fault, type Problem } from '#model/fault.ts';
import type { FlannelPlaces, Settings } from '#model/settings.ts';
import { openLedger } from '#stores/ledger.ts';

export type MigrateOptions = {
  /** Changes nothing. */
  readonly trial: boolean;
  /** `away`: nobody has the ledger. */
  readonly agent: 'away' | 'waits' | 'ready';
  /** The node is given back to flannel. */
  readonly back: boolean;
};

/** Throws Fault `no-root`, and `migration-refused` where it is asked to act in spite of what stands against it. */
export function migrateFlannel(settings: Settings, { trial, agent, back }: MigrateOptions): MigrationReport {
  if (process.geteuid?.() !== 0)
    throw new Fault('no-root', 'what is on this node is looked at directly, which needs root');
  const places = placesOf(settings);
  if (back) return giveBack(settings, places, { trial, agent });
  const report = look(settings, places, agent);
  if (trial || report.problems.length > 0) return report;
  if (agent === 'away') return takeOver(settings, report);
  return agent === 'ready' ? tidy(report, places) : report;
}

function placesOf({ migration }: Settings): FlannelPlaces {
  const places = migration?.flannel;
  if (places !== undefined && places !== null) return places;
  throw new Fault('settings-invalid', 'the settings do not say that the cluster moves from flannel', {
    problems: [{ path: 'migration.flannel', message: 'is not set: give it a group, which may be empty: {}' }],
  });
}

function look(settings: Settings, places: FlannelPlaces, agent: MigrateOptions['agent']): MigrationReport {
  // One process has the ledger. What its agent took over is known by its links.
  const ledger = agent === 'away' ? openJournal(settings) : undefined;
  const plan = gatherFlannel({ settings, ledger: ledger ?? { list: () => [] } }, places);
  ledger?.close();
  const saved = saveRules();
  const left = leftOf(saved, places);
  const due = isDue(plan);
  const absent = !due && left.length === 0;
  return {
    state: due ? 'due' : absent ? 'none' : 'taken',
    steps: due ? describeFlannel(plan) : [],
    problems: plan.problems,
    notes: [...plan.notes, ...portNotes(saved), ...blindNotes(saved)],
    left,
    isDone: false,
  };
}

function giveBack(
  settings: Settings,
  places: FlannelPlaces,
  { trial, agent }: Pick<MigrateOptions, 'trial' | 'agent'>,
): MigrationReport {
  const ledger = agent === 'away' ? openJournal(settings) : undefined;
  try {
    const plan = gatherBack({ settings, places, ledger });
    const { problems, notes } = plan;
    const isDone = !trial && problems.length === 0 && ledger !== undefined;
    const state = isBackDue(plan) ? 'due' : 'taken';
    if (isDone) handBack({ settings, places, ledger }, plan);
    return { state, back: true, steps: describeBack(plan), problems, notes, left: [], isDone };
  } finally {
    ledger?.close();
  }
}

function openJournal({ paths }: Settings): ReturnType<typeof openLedger> {
  mkdirSync(paths.run, { recursive: true, mode: 0o700 });
  return openLedger(join(paths.run, 'attachments.journal'));
}

function takeOver(settings: Settings, report: MigrationReport): MigrationReport {
  mkdirSync(settings.paths.state, { recursive: true, mode: 0o700 });
  const ledger = openJournal(settings);
  try {
    takeOverFlannel({ settings, ledger });
  } finally {
    ledger.close();
  }
  return { ...report, left: [], isDone: true };
}

type Saved = {
  readonly program: 'iptables' | 'ip6tables';
  readonly text: string;
  readonly isInstalled: boolean;
};

function saveRules(): Saved[] {
  return (['iptables', 'ip6tables'] as const).map((program) => {
    const { stdout, error } = spawnSync(`${program}-save`, { encoding: 'utf8' });
    return { program, text: stdout ?? '', isInstalled: error === undefined };
  });
}

/** As in an agent's container. */
function blindNotes(saved: readonly Saved[]): Problem[] {
  const message =
    'is not installed here, so nobody looked for flannel’s chains (FLANNEL-POSTRTG, FLANNEL-FWD): remove them on the host';
  return saved
    .filter(({ isInstalled }) => !isInstalled)
    .map(({ program }) => ({ path: `${program}-save`, message }));
}

/** Where flannel was told to use nftables (EnableNFTables). */
const TABLES = ['ip flannel-ipv4', 'ip6 flannel-ipv6'];

function leftTables(): string[] {
  const listed = spawnSync('nft', ['list', 'tables'], { encoding: 'utf8' }).stdout ?? '';
  return TABLES.filter((table) => listed.split('\n').includes(`table ${table}`));
}

function leftOf(saved: readonly Saved[], { subnetFile }: FlannelPlaces): string[] {
  const rules = saved.filter(({ text }) => removalOf(text) !== undefined);
  return [
    ...rules.map(({ program }) => `flannel’s chains of ${program}`),
    ...leftTables().map((table) => `the table ${table} of nftables`),
    ...(existsSync(subnetFile) ? [subnetFile] : []),
  ];
}

function portNotes(saved: readonly Saved[]): Problem[] {
  return [...new Set(saved.flatMap(({ text }) => portmapContainers(text)))].map((id) => ({
    path: id,
    message:
      'its host ports are rules of the plugin portmap: they work, and stay when the pod goes until you remove them',
  }));
}

/** By the programs that made them: what they keep elsewhere stays in order. Throws Fault `kernel`. */
function tidy(report: MigrationReport, { subnetFile }: FlannelPlaces): MigrationReport {
  for (const { program, text } of saveRules()) {
    const input = removalOf(text);
    if (input !== undefined) run(`${program}-restore`, ['--noflush', '--wait'], input);
  }
  for (const table of leftTables()) run('nft', ['delete', 'table', ...table.split(' ')], '');
  if (readText(subnetFile) !== '') rmSync(subnetFile);
  return { ...report, isDone: true };
}

function run(program: string, words: readonly string[], input: string): void {
  const { status, stderr } = spawnSync(program, words, { input, encoding: 'utf8' });
  if (status !== 0) throw new Fault('kernel', `${program} failed: ${stderr}`);
}
