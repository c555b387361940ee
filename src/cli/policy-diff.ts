/**
 * `tartan policy diff -f new.yaml`: which pods could reach each other otherwise if manifests were applied or removed, before
 * they are. Exact: every pair, every port, also to and from addresses outside.
 */
import type { Command } from 'commander';
import { Fault, type Problem } from '#model/fault.ts';
import { type Manifest, readManifests } from '#model/manifest.ts';
import type { PolicySnapshot } from '#model/policy-snapshot.ts';
import type { PolicyWorld } from '#model/workload.ts';
import { showDecider } from '#policy/deciders.ts';
import { type Change, type Difference, findDifferences, type Side } from '#policy/differences.ts';
import { manifestName } from '#policy/inputs/reading.ts';
import { restore } from '#policy/inputs/snapshot.ts';
import { showTraffic } from '#policy/reach/traffic-spans.ts';
import { formatOf, withOutput } from './options.ts';
import { EXIT, print } from './output.ts';
import { isDual, namesOfPods, shortenNames } from './policy-names.ts';
import { listOption, type Options, readSource, readTexts, viewOf, withSource } from './policy-source.ts';
import type { Make } from './program.ts';

export function diffCommand(make: Make): Command {
  const command = make('diff', async (options) => {
    const source = await readSource(options);
    const before = viewOf(source);
    const after = options['staged'] === true ? stagedSide(before) : changedSide(source.snapshot, options);
    const found = findDifferences(before, after);
    print(formatOf(options), found, (differences) => render(differences, after.world));
    return found.length > 0 && options['exitCode'] === true ? EXIT.found : EXIT.ok;
  });
  return withOutput(withSource(command))
    .description('which pods could reach each other otherwise, if manifests were applied')
    .option('-f, --file <file...>', 'manifests to apply: files, directories, or - for standard input')
    .option('--remove <name...>', 'objects to remove: Kind/name, Kind/namespace/name, or apiVersion/Kind/…')
    .option('--staged', 'put all staged policies in force instead')
    .option('--exit-code', 'exit with 1 when there are differences')
    .addHelpText(
      'after',
      '\nExit codes: 0 compared; 1 differences, with --exit-code; 2 bad input; 3 no agent answers.',
    );
}

function stagedSide({ book, world }: Side): Side {
  return { book: { ...book, enforced: book.pending ?? book.enforced }, world };
}

/** Throws Fault `policy-invalid` with all that would not be in force as it is written. */
function changedSide(snapshot: PolicySnapshot, options: Options): Side {
  const [files, removed] = [listOption(options, 'file'), listOption(options, 'remove')];
  if (files.length === 0 && removed.length === 0) {
    throw new Fault('request-invalid', 'nothing to compare with: give -f, --remove or --staged');
  }
  const inputs = restore(snapshot);
  const known = new Set(inputs.view().problems.map(textOf));
  for (const name of namesToRemove(snapshot, removed)) inputs.setManifest(name, undefined);
  const problems: Problem[] = [];
  for (const manifest of readAll(files, problems)) inputs.setManifest(nameIn(snapshot, manifest), manifest);
  const after = inputs.view();
  problems.push(...after.problems.filter((problem) => !known.has(textOf(problem))));
  if (problems.length === 0) return after;
  throw new Fault('policy-invalid', 'the manifests cannot be applied as they are', { problems });
}

const textOf = ({ path, message }: Problem): string => `${path}: ${message}`;

function readAll(files: readonly string[], problems: Problem[]): Manifest[] {
  return [...readTexts(files)].flatMap(([source, text]) => {
    const read = readManifests(source, text);
    problems.push(...read.problems);
    return read.manifests;
  });
}

/** An object without namespace replaces the one that is there in the default namespace. */
function nameIn(snapshot: PolicySnapshot, manifest: Manifest): string {
  const name = manifestName(manifest);
  const parts = name.split('/');
  const spaced = [...parts.slice(0, -1), snapshot.defaultNamespace ?? 'default', ...parts.slice(-1)].join(
    '/',
  );
  const isKnown = (each: string): boolean => snapshot.manifests.some((one) => one.name === each);
  return !isKnown(name) && isKnown(spaced) ? spaced : name;
}

function namesToRemove({ manifests }: PolicySnapshot, wanted: readonly string[]): string[] {
  const names = manifests.map(({ name }) => name);
  const problems: Problem[] = [];
  const found = wanted.flatMap((text) => {
    const suffix = `/${text.replace(' ', '/').toLowerCase()}`;
    const own = names.filter((name) => `/${name.toLowerCase()}`.endsWith(suffix));
    if (own.length === 1) return own;
    const message = own.length === 0 ? 'there is no such object' : `is one of ${own.join(', ')}`;
    problems.push({ path: `--remove ${text}`, message });
    return [];
  });
  if (problems.length > 0) throw new Fault('request-invalid', 'not all objects are known', { problems });
  return found;
}

function render(differences: readonly Difference[], world: PolicyWorld): string {
  const [all, dual] = [namesOfPods(world), isDual(world)];
  const lines = differences.flatMap(({ sources, destinations, changes }) => {
    const ends = `${shortenNames(sources, all)} → ${shortenNames(destinations, all)}`;
    return changes.map((change) => `${ends} ${renderChange(change, dual)}`);
  });
  return lines.length === 0 ? 'no flow would be judged otherwise' : lines.join('\n');
}

function renderChange({ families, traffic, before, after, now }: Change, dual: boolean): string {
  const only = dual && families.length === 1 ? ` (IPv${families.join()})` : '';
  return `${showTraffic(traffic)}${only}: ${before} → ${after} (now ${showDecider(now)})`;
}
