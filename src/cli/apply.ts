/**
 * `tartan apply`, `tartan delete`: objects of the store, the same way on every store. Everything that is wrong is told at
 * once, each at its line, and then nothing is changed.
 */
import type { Command } from 'commander';
import { Fault, type Problem } from '#model/fault.ts';
import type { ObjectStore, Outcome } from '#model/store-object.ts';
import { selectObjects } from './kind-words.ts';
import { type FoundObjects, judgeObjects, readObjects } from './object-files.ts';
import { configOf, formatOf, textOption, withConfig, withOutput } from './options.ts';
import { EXIT, print } from './output.ts';
import { listOption, warn } from './policy-source.ts';
import type { Doors, Make } from './program.ts';
import { readSettings } from './settings-file.ts';

type Options = Readonly<Record<string, unknown>>;

export function applyCommand(make: Make, doors: Pick<Doors, 'objects'>): Command {
  const command = make('apply', async (options) => {
    const found = readObjects(listOption(options, 'file'));
    return withObjects(options, doors, async (store) => {
      const { problems, warnings } = judgeObjects(found, await store.list());
      warn(warnings);
      refuse([...found.problems, ...problems]);
      return show(options, await store.apply(found.objects, options['dryRun'] === true));
    });
  });
  return withOutput(withConfig(command))
    .description('put manifests into the store: policies, what they are about, reservations of subnets')
    .requiredOption('-f, --file <file...>', 'files, directories, or - for standard input')
    .option('--dry-run', 'say what would happen');
}

export function deleteCommand(make: Make, doors: Pick<Doors, 'objects'>): Command {
  const command = make('delete', async (options, [kind, ...names]) => {
    const found = readObjects(listOption(options, 'file'));
    refuse(found.problems);
    return withObjects(options, doors, async (store) => {
      const wanted = [...namesOf(found), ...(await pick(store, options, kind, names))];
      return show(options, await store.remove(wanted, options['dryRun'] === true));
    });
  });
  return withOutput(withConfig(command))
    .description('take objects out of the store: those of files, or of a kind by their names')
    .argument('[kind]', 'kind of the objects, as kubectl has it')
    .argument('[names...]', 'their names')
    .option('-n, --namespace <namespace>', 'namespace of the objects')
    .option('-f, --file <file...>', 'files, directories, or - for standard input')
    .option('--dry-run', 'say what would happen');
}

export async function withObjects<T>(
  options: Options,
  doors: Pick<Doors, 'objects'>,
  action: (store: ObjectStore) => Promise<T>,
): Promise<T> {
  const store = await doors.objects(readSettings(configOf(options)).settings);
  try {
    return await action(store);
  } finally {
    store.close();
  }
}

function namesOf({ objects }: FoundObjects): string[] {
  return objects.map(({ name }) => name);
}

/** Throws Fault `request-invalid` for names that several objects have, or none. */
async function pick(
  store: ObjectStore,
  options: Options,
  kind: string | undefined,
  names: readonly string[],
): Promise<string[]> {
  if (kind === undefined) return [];
  if (names.length === 0) throw new Fault('request-invalid', `which ${kind}? Name the objects to delete`);
  const namespace = textOption(options, 'namespace');
  const objects = await store.list();
  const problems: Problem[] = [];
  const picked = names.flatMap((name) => {
    const fitting = selectObjects(objects, { kind, name, ...(namespace === undefined ? {} : { namespace }) });
    if (fitting.length === 1) return fitting.map((object) => object.name);
    const several = `is ambiguous: ${fitting.map((object) => object.name).join(', ')}`;
    problems.push({
      path: `${kind} ${name}`,
      message: fitting.length === 0 ? 'is not in the store' : several,
    });
    return [];
  });
  refuse(problems);
  return picked;
}

function refuse(problems: readonly Problem[]): void {
  if (problems.length === 0) return;
  const count = problems.length === 1 ? 'one problem' : `${problems.length} problems`;
  throw new Fault('request-invalid', `nothing is changed: ${count}`, { problems });
}

export function show(options: Options, outcomes: readonly Outcome[]): number {
  const suffix = options['dryRun'] === true ? ' (not done)' : '';
  print(formatOf(options), outcomes, (all) =>
    all.length === 0
      ? 'no objects'
      : all.map(({ name, outcome }) => `${name} ${outcome}${suffix}`).join('\n'),
  );
  return EXIT.ok;
}
