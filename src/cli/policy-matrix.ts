/** `tartan policy matrix`: which pods may reach which. */
import type { Command } from 'commander';
import { Fault } from '#model/fault.ts';
import type { Pod, PolicyWorld } from '#model/workload.ts';
import { renderTable } from '#lib/table.ts';
import { parseTraffic, type Traffic } from '#policy/flow-text.ts';
import { buildMatrix, type Matrix, type Reach } from '#policy/matrix.ts';
import { showTraffic } from '#policy/reach/traffic-spans.ts';
import { formatOf, textOption, withOutput } from './options.ts';
import { EXIT, print } from './output.ts';
import { isDual, namesOfPods, shortenNames } from './policy-names.ts';
import { listOption, readSource, viewOf, withSource } from './policy-source.ts';
import type { Make } from './program.ts';

/** More pods are grouped by what they may. */
const MANY = 12;

export function matrixCommand(make: Make): Command {
  const command = make('matrix', async (options) => {
    const traffic = trafficOf(textOption(options, 'port'));
    const view = viewOf(await readSource(options));
    const pods = podsOf(view.world, listOption(options, 'namespace'));
    const grouped = options['group'] === true || (pods.length > MANY && options['group'] !== false);
    const matrix = buildMatrix(view, pods, { ...(traffic === undefined ? {} : { traffic }), grouped });
    print(formatOf(options), matrix, (value) => render(value, view.world));
    return EXIT.ok;
  });
  return withOutput(withSource(command))
    .description('which pods may reach which: all traffic, or one port')
    .option('-p, --port <port>', 'only this: PORT, PORT/udp, PORTNAME or icmp')
    .option('-n, --namespace <name...>', 'only pods of these namespaces')
    .option('--group', `put pods together that are judged alike (so from ${MANY + 1} pods on)`)
    .option('--no-group', 'a row for each pod, however many')
    .addHelpText('after', '\nExit codes: 0 shown; 2 bad input; 3 no agent answers.');
}

function trafficOf(text: string | undefined): Traffic | undefined {
  if (text === undefined) return undefined;
  const parsed = parseTraffic(text);
  if (!('unclear' in parsed)) return parsed;
  throw new Fault('request-invalid', 'the port is not clear', {
    problems: [{ path: '--port', message: parsed.unclear }],
  });
}

function podsOf(world: PolicyWorld, namespaces: readonly string[]): Pod[] {
  return world.endpoints
    .filter((each): each is Pod => each.kind === 'pod' && each.addresses.length > 0)
    .filter(({ namespace }) => namespaces.length === 0 || namespaces.includes(namespace))
    .sort((a, b) => (`${a.namespace}/${a.name}` < `${b.namespace}/${b.name}` ? -1 : 1));
}

function render({ groups, reach }: Matrix, world: PolicyWorld): string {
  if (groups.length === 0) return 'no pods';
  const [all, dual] = [namesOfPods(world), isDual(world)];
  const names = groups.map((own) => shortenNames(own, all));
  const notes: string[] = [];
  const rows = reach.map((cells, row) => [
    names[row] ?? '',
    ...cells.map((cell, column) => {
      if (row === column && groups[row]?.length === 1) return '·';
      if (cell.verdict === 'some')
        notes.push(`${names[row]} → ${names[column]}: ${renderAllowed(cell, dual)}`);
      return CELLS[cell.verdict];
    }),
  ]);
  const table = renderTable(['from \\ to', ...names], rows);
  return [table, ...(notes.length === 0 ? [] : ['', 'some:', ...notes.map((note) => `  ${note}`)])].join(
    '\n',
  );
}

const CELLS: Readonly<Record<Reach['verdict'], string>> = { allow: 'ok', deny: '-', some: 'some', none: '·' };

function renderAllowed({ allowed = [] }: Reach, dual: boolean): string {
  const texts = allowed.map(({ family, traffic }) => ({ family, text: showTraffic(traffic) }));
  const [first] = texts;
  const isSame = (texts.length > 1 || !dual) && texts.every(({ text }) => text === first?.text);
  if (isSame) return first?.text ?? '';
  return texts.map(({ family, text }) => `${text || 'nothing'} over IPv${family}`).join('; ');
}
