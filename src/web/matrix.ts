/** The page of `tartan choose --page`: filter by requirement, compare side by side, and open the source of every cell. */
import type { MatrixProvider, ProviderMatrix } from '#model/provider-matrix.ts';
import { element, place, readData } from './element.ts';
import { makeEvidence } from './evidence.ts';
import { makeGrid } from './grid.ts';
import {
  columnsOf,
  type Excluded,
  excludedBy,
  readSelection,
  type Selection,
  toggled,
  writeSelection,
} from './selection.ts';

/** As many as fit beside each other on a phone. */
const NARROW = 2;

const matrix = readData() as ProviderMatrix;
const evidence = makeEvidence(matrix);
const filters = element('div', { class: 'filters' });
const verdict = element('div', { class: 'verdict', role: 'status' });
const frame = element('div', { class: 'frame', tabindex: '-1' });
let selection = readSelection(location.hash, matrix);

function select(change: Partial<Selection>): void {
  selection = { ...selection, ...change };
  history.replaceState(null, '', writeSelection(selection) || location.pathname);
  showVerdict();
  showGrid();
}

function box(label: string, checked: boolean, change: () => void): HTMLLabelElement {
  const input = element('input', { type: 'checkbox', checked });
  input.addEventListener('change', change);
  return element('label', {}, input, ` ${label}`);
}

function makeFilters(): void {
  const needs = matrix.groups.flatMap(({ title, features }) => {
    const abilities = features.filter(({ type }) => type === 'ability');
    if (abilities.length === 0) return [];
    const boxes = abilities.map(({ name, title }) =>
      box(title, selection.needs.has(name), () => select({ needs: toggled(selection.needs, name) })),
    );
    return [element('fieldset', {}, element('legend', {}, title), ...boxes)];
  });
  const providers = matrix.providers.map(({ id, title }) =>
    box(title, selection.shown.has(id), () => select({ shown: toggled(selection.shown, id) })),
  );
  const differing = box('only rows in which they differ', selection.differing, () =>
    select({ differing: !selection.differing }),
  );
  filters.replaceChildren(
    element('details', {}, element('summary', {}, 'What it must have'), ...needs),
    element(
      'details',
      {},
      element('summary', {}, 'Which to compare'),
      element('fieldset', {}, element('legend', {}, 'None chosen: all'), ...providers),
    ),
    differing,
  );
}

function titleOf(name: string): string {
  const features = matrix.groups.flatMap((group) => group.features);
  return features.find((feature) => feature.name === name)?.title ?? name;
}

const listed = (providers: readonly MatrixProvider[]): string =>
  providers.map(({ title }) => title).join(', ') || 'none';

/** Those who lack the same stand together. */
function outLines(out: readonly Excluded[]): string[] {
  const alike = Map.groupBy(out, ({ by }) => by.map(titleOf).join('; '));
  return [...alike].map(
    ([what, group]) => `Out, for want of ${what}: ${listed(group.map(({ provider }) => provider))}.`,
  );
}

function showVerdict(): void {
  const out = excludedBy(selection, matrix);
  const left = matrix.providers.filter((provider) => !out.some((one) => one.provider === provider));
  const chosen = [...selection.needs].map((name) => {
    const button = element('button', {
      type: 'button',
      class: 'chip',
      'aria-label': `no longer: ${titleOf(name)}`,
    });
    button.append(`${titleOf(name)} ×`);
    button.addEventListener('click', () => {
      select({ needs: toggled(selection.needs, name) });
      makeFilters();
    });
    return button;
  });
  const sentences =
    selection.needs.size === 0
      ? [element('p', {}, `${matrix.providers.length} providers and profiles, each cell with its sources.`)]
      : [
          element('p', {}, ...chosen),
          element('p', {}, `Left: ${listed(left)}.`),
          ...outLines(out).map((line) => element('p', { class: 'out' }, line)),
        ];
  verdict.replaceChildren(...sentences);
}

const narrow = matchMedia('(max-width: 40rem)');

function showGrid(): void {
  const all = columnsOf(selection, matrix);
  const columns = narrow.matches && selection.shown.size === 0 ? all.slice(0, NARROW) : all;
  const hidden = all.length - columns.length;
  frame.replaceChildren(
    ...(hidden === 0 ? [] : [element('p', {}, `${hidden} more fit: see “Which to compare”.`)]),
    columns.length === 0
      ? element('p', {}, 'Nobody that is shown has all of it. Leave out a requirement, or compare others.')
      : makeGrid(matrix, columns, selection, evidence.open),
  );
}

place('#app').replaceChildren(filters, verdict, frame, evidence.dialog);
makeFilters();
showVerdict();
showGrid();
narrow.addEventListener('change', showGrid);
