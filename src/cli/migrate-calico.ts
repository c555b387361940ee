/** `tartan migrate calico`: a Calico cluster out of an export of its objects, into the store; and this node's pods, where it is on one. */
import type { Command } from 'commander';
import { stringify } from 'yaml';
import { layerOfPaths } from '#config/document.ts';
import { API_VERSION } from '#config/schema.ts';
import { blockLengths } from '#ipam/blocks/block.ts';
import { formatNumbers } from '#ipam/blocks/numbers.ts';
import { type CalicoObject, type CalicoPlan, objectsOfKeys, planCalico } from '#migration/calico.ts';
import { Fault, type Problem } from '#model/fault.ts';
import { type Manifest, manifestOf } from '#model/manifest.ts';
import type { Settings } from '#model/settings.ts';
import type { Outcome } from '#model/store-object.ts';
import { unlessAway } from './client.ts';
import { type FoundObjects, judgeObjects, readObjects } from './object-files.ts';
import { clientOf, configOf, formatOf, withAgent, withOutput } from './options.ts';
import { EXIT, type ExitCode, print } from './output.ts';
import { listOption } from './policy-source.ts';
import type { Doors, Make } from './program.ts';
import { readSettings } from './settings-file.ts';

type CalicoDoors = Pick<Doors, 'objects' | 'seedBlocks' | 'adoptCalico' | 'calicoKeys'>;
type Options = Readonly<Record<string, unknown>>;

export type CalicoReport = {
  /** A settings file for the nodes. */
  readonly settings: string;
  /** What the store is given. */
  readonly objects: readonly Outcome[];
  /** On this node. */
  readonly steps: readonly string[];
  readonly problems: readonly Problem[];
  readonly notes: readonly Problem[];
  readonly isDone: boolean;
};

export function calicoCommand(make: Make, doors: CalicoDoors): Command {
  const command = make('calico', async (options) => {
    const { settings } = readSettings(configOf(options));
    const report = await migrate({ options, settings, doors });
    print(formatOf(options), report, render);
    return exitOf(report);
  });
  return withOutput(withAgent(command))
    .option('--from <file...>', 'an export of Calico’s objects: files, directories, or - for standard input')
    .option('--etcd', 'read Calico’s keys in the etcd of the settings’ store')
    .option('--dry-run', 'tell what would be done, and all that stands against it')
    .description(
      'the cluster’s pools, addresses and policies, and the pods of this node (docs/guide/migrate.md)',
    );
}

function exitOf({ problems }: CalicoReport): ExitCode {
  return problems.length === 0 ? EXIT.ok : EXIT.found;
}

type Call = { readonly options: Options; readonly settings: Settings; readonly doors: CalicoDoors };

async function migrate(call: Call): Promise<CalicoReport> {
  const { options, settings, doors } = call;
  const found = await readAll(call);
  const plan = planCalico(found.objects, { format: formatNumbers, lengths: blockLengths });
  const away = (await clientOf(options).call('status').catch(unlessAway)) === undefined;
  // A running agent has the ledger; its pods are its own.
  const pods = away ? (plan.pods.get(settings.node.name) ?? []) : [];
  const adopt = async (trial: boolean): Promise<Adopted> =>
    pods.length === 0 ? NOTHING : doors.adoptCalico(settings, pods, { trial });
  const look = await adopt(true);
  const store = await doors.objects(settings);
  try {
    const judged = judgeObjects(asFound(plan, found), await store.list());
    const problems = [...found.problems, ...plan.problems, ...judged.problems, ...look.problems];
    const notes = [...plan.notes, ...judged.warnings, ...look.notes];
    const told = { settings: settingsOf(plan), problems, notes };
    if (problems.length > 0) return { ...told, objects: [], steps: look.steps, isDone: false };
    const put = async (trial: boolean): Promise<Outcome[]> => [
      ...(await doors.seedBlocks(settings, plan.blocks, trial)),
      ...(await store.apply(plan.objects, trial)),
    ];
    // All of it is looked at before anything is written.
    const foreseen = await put(true);
    if (options['dryRun'] === true) return { ...told, objects: foreseen, steps: look.steps, isDone: false };
    return { ...told, objects: await put(false), steps: (await adopt(false)).steps, isDone: true };
  } finally {
    store.close();
  }
}

/** Read by whom pools and routing concern, who judges them in its own time. */
const ELSEWHERE = /^[^/]+\/v\d+\/(?:IPPool|IPReservation|IPAMConfiguration|BGP\w+)\//;

/** Those that stay and are about traffic, and at which lines they stand. */
function asFound({ objects }: CalicoPlan, found: FoundObjects): FoundObjects {
  const manifest = ({ name, origin, value }: CalicoObject): [string, Manifest] => [
    name,
    found.manifests.get(name) ?? manifestOf(origin, value),
  ];
  const about = objects.filter(({ name }) => !ELSEWHERE.test(name));
  return { objects, manifests: new Map(about.map(manifest)), problems: [] };
}

type Adopted = Pick<CalicoReport, 'steps' | 'problems' | 'notes'>;
const NOTHING: Adopted = { steps: [], problems: [], notes: [] };

async function readAll({ options, settings, doors }: Call) {
  const files = listOption(options, 'from');
  if (files.length === 0 && options['etcd'] !== true)
    throw new Fault('request-invalid', 'where are Calico’s objects? Name an export (--from), or --etcd');
  const read = readObjects(files);
  const keys = options['etcd'] === true ? objectsOfKeys(await doors.calicoKeys(settings)) : NO_KEYS;
  const objects: CalicoObject[] = [...read.objects, ...keys.objects];
  return { objects, manifests: read.manifests, problems: [...read.problems, ...keys.problems] };
}

const NO_KEYS = { objects: [], problems: [] } as const;

function settingsOf({ settings }: CalicoPlan): string {
  const { values } = layerOfPaths('export', settings);
  return stringify({ apiVersion: API_VERSION, kind: 'Settings', profile: 'calico', ...values });
}

function render({ settings, objects, steps, problems, notes, isDone }: CalicoReport): string {
  const list = (title: string, lines: readonly string[]): string[] =>
    lines.length === 0 ? [] : [title, ...lines.map((line) => `  ${line}`)];
  const textOf = ({ path, message }: Problem): string => `${path}: ${message}`;
  return [
    ...list('what stands against it:', problems.map(textOf)),
    ...list('settings of the nodes:', settings.trimEnd().split('\n')),
    ...list(
      isDone ? 'in the store:' : 'for the store:',
      objects.map(({ name, outcome }) => `${name} ${outcome}`),
    ),
    ...list(isDone ? 'done on this node:' : 'to be done on this node:', steps),
    ...list('not taken over:', notes.map(textOf)),
  ].join('\n');
}
