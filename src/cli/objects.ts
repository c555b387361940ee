/** Objects of the store as they stand there: `tartan get KIND [NAME]`, `tartan describe KIND NAME`. */
import type { Command } from 'commander';
import { stringify } from 'yaml';
import { Fault } from '#model/fault.ts';
import { manifestOf } from '#model/manifest.ts';
import { renderTable } from '#lib/table.ts';
import type { StoreObject } from '#model/store-object.ts';
import { createInputs } from '#policy/inputs/inputs.ts';
import { withObjects } from './apply.ts';
import { headOf, namesKind, selectObjects, type Wanted } from './kind-words.ts';
import { isOthers } from './object-files.ts';
import { formatOf, textOption, withConfig, withOutput } from './options.ts';
import { EXIT, indent, print } from './output.ts';
import type { Doors, Make } from './program.ts';

type Options = Readonly<Record<string, unknown>>;

export async function getObjects(
  options: Options,
  doors: Pick<Doors, 'objects'>,
  [kind = 'all', name]: readonly string[],
): Promise<number> {
  const found = await withObjects(options, doors, async (store) =>
    selectObjects(await store.list((each) => namesKind(kind, each)), wantedOf(options, kind, name)),
  );
  if (name !== undefined && found.length === 0) throw absent(kind, name);
  console.log(render(textOption(options, 'output') ?? 'text', found));
  return EXIT.ok;
}

export function describeCommand(make: Make, doors: Pick<Doors, 'objects'>): Command {
  const command = make('describe', (options, [kind = '', name = '']) =>
    withObjects(options, doors, async (store) => {
      const all = await store.list((each) => namesKind(kind, each));
      const found = selectObjects(all, wantedOf(options, kind, name));
      if (found.length === 0) throw absent(kind, name);
      const described = found.map((object) => ({ ...object, ...judge(object, all) }));
      print(formatOf(options), described, (each) => each.map(renderOne).join('\n'));
      return EXIT.ok;
    }),
  );
  return withOutput(withConfig(command))
    .description('objects of the store: where they stand, what they say, and what is wrong with them')
    .argument('<kind>', 'as kubectl has it')
    .argument('<name>', 'the object’s')
    .option('-n, --namespace <namespace>', 'namespace of the object');
}

function wantedOf(options: Options, kind: string, name: string | undefined): Wanted {
  const namespace = textOption(options, 'namespace');
  return { kind, ...(name === undefined ? {} : { name }), ...(namespace === undefined ? {} : { namespace }) };
}

function absent(kind: string, name: string): Fault {
  return new Fault('request-invalid', `there is no ${kind} ${name} in the store`);
}

/** One object as it is, several as a list of the API: both can be applied again. */
function render(format: string, objects: readonly StoreObject[]): string {
  if (format === 'text') return renderNames(objects);
  const values = objects.map(({ value }) => value);
  const whole = values.length === 1 ? values[0] : { apiVersion: 'v1', kind: 'List', items: values };
  return format === 'json' ? JSON.stringify(whole, undefined, 2) : stringify(whole).trimEnd();
}

function renderNames(objects: readonly StoreObject[]): string {
  if (objects.length === 0) return 'no objects';
  const rows = objects.map((object) => {
    const { kind, namespace = '-', name } = headOf(object);
    return [kind, namespace, name, object.origin];
  });
  return renderTable(['KIND', 'NAMESPACE', 'NAME', 'STANDS IN'], rows);
}

/** As agents take it, among all that the store holds. */
function judge(object: StoreObject, all: readonly StoreObject[]): { problems: string[]; warnings: string[] } {
  const inputs = createInputs({ node: '' });
  for (const { name, value, origin } of all.filter(isOthers))
    inputs.setManifest(name, manifestOf(origin, value));
  const { problems, warnings } = inputs.view();
  const about = (list: typeof problems): string[] =>
    list
      .filter(({ path }) => path === object.origin || path.startsWith(`${object.origin} `))
      .map(({ path, message }) => `${path.slice(object.origin.length + 1)}: ${message}`);
  return { problems: about(problems), warnings: about(warnings) };
}

function renderOne(object: StoreObject & ReturnType<typeof judge>): string {
  const list = (title: string, lines: readonly string[]): string[] =>
    lines.length === 0 ? [] : [`${title}:`, ...lines.map((line) => `  ${line}`)];
  return [
    object.name,
    `stands in: ${object.origin}`,
    ...list('problems', object.problems),
    ...list('warnings', object.warnings),
    indent(stringify(object.value).trimEnd()),
  ].join('\n');
}
