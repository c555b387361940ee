/**
 * The table: a row per feature, a column per provider, each cell a button that opens its evidence. One cell is in the order
 * of Tab; arrows, Home, End and the page keys go from cell to cell (the grid pattern of WAI-ARIA).
 */
import type { MatrixCell, MatrixFeature, MatrixProvider, ProviderMatrix } from '#model/provider-matrix.ts';
import { element } from './element.ts';
import { cellOf, isDiffering, type Selection } from './selection.ts';

export type Open = (provider: MatrixProvider, feature: MatrixFeature, cell: MatrixCell) => void;

export function makeGrid(
  { groups }: ProviderMatrix,
  columns: readonly MatrixProvider[],
  { needs, differing }: Selection,
  open: Open,
): HTMLTableElement {
  const bodies = groups.flatMap(({ title, features }) => {
    const rows = features.filter(({ name }) => !differing || isDiffering(name, columns));
    if (rows.length === 0) return [];
    const head = element(
      'tr',
      { class: 'group' },
      element('th', { colspan: String(columns.length + 1), scope: 'rowgroup' }, title),
    );
    return [
      element(
        'tbody',
        {},
        head,
        ...rows.map((feature) => makeRow(feature, columns, needs.has(feature.name), open)),
      ),
    ];
  });
  const heads = columns.map(({ title, own }) =>
    element('th', { scope: 'col', class: own ? 'own' : undefined }, title),
  );
  const top = element('tr', {}, element('th', { scope: 'col' }, 'Feature'), ...heads);
  const table = element('table', { role: 'grid' }, element('thead', {}, top), ...bodies);
  steer(table);
  return table;
}

function makeRow(
  feature: MatrixFeature,
  columns: readonly MatrixProvider[],
  needed: boolean,
  open: Open,
): HTMLTableRowElement {
  const cells = columns.map((provider) => {
    const cell = cellOf(provider, feature.name);
    // Of texts, other words are no other opinion.
    const isContested = cell.against > 0 && feature.type !== 'text';
    const label = `${provider.title}, ${feature.title}: ${cell.value}${isContested ? ', sources disagree' : ''}`;
    const button = element(
      'button',
      { type: 'button', tabindex: '-1', 'aria-label': label, class: classOf(feature, cell) },
      String(cell.value),
    );
    if (isContested) button.append(element('sup', { title: 'sources disagree' }, '≠'));
    button.addEventListener('click', () => open(provider, feature, cell));
    return element('td', {}, button);
  });
  const head = element('th', { scope: 'row' }, feature.title);
  return element('tr', { class: needed ? 'needed' : undefined }, head, ...cells);
}

function classOf({ type }: MatrixFeature, { value }: MatrixCell): string {
  if (value === 'unknown') return 'unknown';
  return type === 'ability' ? String(value) : 'text';
}

/** Rows and columns to go by a key; a page is ten rows. */
const STEPS: Readonly<Record<string, readonly [rows: number, columns: number]>> = {
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
  PageUp: [-10, 0],
  PageDown: [10, 0],
  Home: [0, -Infinity],
  End: [0, Infinity],
};

function steer(table: HTMLTableElement): void {
  const rows = [...table.querySelectorAll('tbody tr:not(.group)')].map((row) => [
    ...row.querySelectorAll('button'),
  ]);
  const first = rows[0]?.[0];
  if (first !== undefined) first.tabIndex = 0;
  table.addEventListener('keydown', (event) => {
    const step = STEPS[event.key];
    const row = rows.findIndex((buttons) => buttons.includes(event.target as HTMLButtonElement));
    if (step === undefined || row < 0) return;
    event.preventDefault();
    const column = rows[row]?.indexOf(event.target as HTMLButtonElement) ?? 0;
    const next = rows[within(row + step[0], rows)];
    next?.[within(column + step[1], next)]?.focus();
  });
  table.addEventListener('focusin', ({ target }) => {
    for (const button of rows.flat()) button.tabIndex = button === target ? 0 : -1;
  });
}

function within(index: number, all: readonly unknown[]): number {
  return Math.min(all.length - 1, Math.max(0, index));
}
