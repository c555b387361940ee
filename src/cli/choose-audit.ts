/** `tartan choose --audit DIR|cluster` and `--capacity`: reports beside the choice, as documents and as data. */
import { audit, type Audit, OUTCOMES } from '#advisor/audit/audit.ts';
import { isMade, usesOf } from '#advisor/audit/uses.ts';
import { type CapacityLine } from '#advisor/capacity/capacity.ts';
import type { Block } from '#advisor/choose/document.ts';
import type { Facts } from '#advisor/facts/facts.ts';
import type { Problem } from '#model/fault.ts';
import { type Manifest, readManifests } from '#model/manifest.ts';
import { FRONTENDS, parseObject } from '#policy/frontends/index.ts';
import { readCluster } from './choose-cluster.ts';
import { listOption, type Options, readTexts, warn } from './policy-source.ts';
import type { Doors } from './program.ts';

/** The word for the API server's objects: a directory of that name is `./cluster`. */
const CLUSTER = 'cluster';

/** What cannot be read is told on standard error, and the rest is looked at. */
export async function auditSources(
  facts: Facts,
  options: Options,
  doors: Pick<Doors, 'everything'>,
): Promise<Audit> {
  const paths = listOption(options, 'audit');
  const files = paths.filter((path) => path !== CLUSTER);
  const read = [...readTexts(files)].map(([source, text]) => readManifests(source, text));
  if (paths.includes(CLUSTER)) {
    const { manifests, problems } = await readCluster(options, doors);
    read.push({ manifests: manifests.filter((manifest) => !isMade(manifest)), problems });
  }
  warn(read.flatMap(({ problems }) => problems));
  return audit(
    facts,
    read.flatMap(({ manifests }) => manifests),
    refusalsOf,
  );
}

/** Of policies of all kinds: what the engine cannot read it refuses. Other objects are not for it. */
function refusalsOf(manifest: Manifest): readonly Problem[] {
  const { apiVersion, kind } = manifest.value as { readonly apiVersion?: unknown; readonly kind?: unknown };
  const isKnown = FRONTENDS.some((one) => one.kind === kind && one.apiVersion === apiVersion);
  const isPolicy = usesOf(manifest)?.kind === 'ciliumPolicy';
  return isKnown || isPolicy ? parseObject(manifest).problems : [];
}

export function auditDocument({ sources }: Facts, found: Audit): Block[] {
  const blocks = found.objects.flatMap(({ object, file, candidates }): Block[] => [
    { kind: 'heading', text: `${object} (${file})` },
    {
      kind: 'lines',
      lines: fateLines(candidates),
    },
  ]);
  const used = found.objects.flatMap(({ candidates }) => candidates.flatMap(({ because }) => because));
  return [...summaryBlocks(found), ...blocks, ...(used.length === 0 ? [] : sourceBlocks(sources, used))];
}

/** Those with whom it fares alike, for the same reasons, stand together; the best first. */
function fateLines(candidates: Audit['objects'][number]['candidates']): string[] {
  const alike = Map.groupBy(candidates, ({ outcome, because }) => JSON.stringify([outcome, because]));
  const groups = [...alike.values()].toSorted((a, b) => rankOf(b) - rankOf(a));
  return groups.flatMap((group) => [
    `${group[0]?.outcome.padEnd(8)} ${group.map(({ title }) => title).join(', ')}`,
    ...(group[0]?.because ?? []).map(
      ({ path, what, value, note, source }) =>
        `  ${path === '' ? 'its kind' : path}: ${what}: ${value}${note === undefined ? '' : `, ${note}`} [${source ?? 'no source'}]`,
    ),
  ]);
}

function rankOf([one]: Audit['objects'][number]['candidates']): number {
  return one === undefined ? -1 : OUTCOMES.indexOf(one.outcome);
}

/** Those who change least come first. */
function summaryBlocks({ objects, summary, others }: Audit): Block[] {
  const rest = Object.entries(others).map(([kind, count]) => `${count} ${kind}`);
  const left = rest.length === 0 ? [] : [`nothing to say of: ${rest.join(', ')}`];
  if (objects.length === 0)
    return [{ kind: 'lines', lines: ['no object needs anything of a provider', ...left] }];
  const better = OUTCOMES.toReversed();
  const rows = summary
    .toSorted((a, b) => b.counts.same - a.counts.same)
    .map(({ title, counts }) => [title, ...better.map((outcome) => String(counts[outcome] ?? 0))]);
  return [
    { kind: 'heading', text: `${objects.length} objects` },
    { kind: 'table', header: ['provider', ...better], rows },
    { kind: 'lines', lines: [LEGEND, ...left] },
  ];
}

const LEGEND =
  'same: as it is; half: with reservations; changed: a part of it does nothing; ignored: its kind is not read; refused: Tartan says so; unknown: no source tells';

export function capacityDocument({ sources }: Facts, lines: readonly CapacityLine[]): Block[] {
  const rows = lines.map(({ what, amount, enough, how, source }) => [
    what,
    String(amount),
    enough === undefined ? '' : enough ? 'yes' : 'no',
    how,
    source,
  ]);
  const header = ['what', 'amount', 'fits', 'how', 'source'];
  return [
    { kind: 'heading', text: 'Capacity' },
    { kind: 'table', header, rows },
    ...sourceBlocks(sources, lines),
  ];
}

/** What the names of sources stand for. */
function sourceBlocks(
  sources: Facts['sources'],
  used: readonly { readonly source?: string | undefined }[],
): Block[] {
  const names = new Set(used.map(({ source }) => source).filter((name) => name !== undefined));
  const rows = [...names].sort().map((name) => {
    const { title, date, url = '' } = sources[name] ?? { title: '', date: '' };
    return [name, date, title, url];
  });
  return [
    { kind: 'heading', text: 'Sources' },
    { kind: 'table', header: ['source', 'of', 'what', 'where'], rows },
  ];
}
