/** The dialog behind a cell: its value, and every claim with its source, date and what the source adds. */
import type {
  MatrixCell,
  MatrixClaim,
  MatrixFeature,
  MatrixProvider,
  ProviderMatrix,
} from '#model/provider-matrix.ts';
import { element } from './element.ts';

/** One for the page; opened again with other content. */
export function makeEvidence(matrix: ProviderMatrix): {
  readonly dialog: HTMLDialogElement;
  readonly open: (provider: MatrixProvider, feature: MatrixFeature, cell: MatrixCell) => void;
} {
  const content = element('div', {});
  const close = element('button', { type: 'submit', class: 'close' }, 'Close');
  const dialog = element(
    'dialog',
    { 'aria-labelledby': 'evidence' },
    element('form', { method: 'dialog' }, content, close),
  );
  // A click beside the dialog closes it.
  dialog.addEventListener('click', (event) => {
    if (event.target === dialog) dialog.close();
  });
  return {
    dialog,
    open: (provider, feature, cell) => {
      content.replaceChildren(
        element('h2', { id: 'evidence' }, `${provider.title}: ${feature.title}`),
        element('p', { class: 'value' }, String(cell.value)),
        ...explanation(feature, cell),
        element('ul', {}, ...cell.claims.map((claim) => claimItem(claim, { feature, cell }, matrix))),
      );
      dialog.showModal();
      close.focus();
    },
  };
}

function explanation({ type }: MatrixFeature, { claims, value, against }: MatrixCell): Node[] {
  if (claims.length === 0) return [element('p', {}, 'No source that was read says anything of it.')];
  if (against === 0) return [];
  if (type === 'text') return [element('p', {}, 'Each source in its words, the newest first.')];
  const what =
    value === 'unknown' ? 'What is newest leaves it open.' : 'Sources disagree; the newest one counts.';
  return [element('p', {}, what)];
}

function claimItem(
  claim: MatrixClaim,
  { feature, cell: { value } }: { readonly feature: MatrixFeature; readonly cell: MatrixCell },
  { sources }: ProviderMatrix,
): HTMLLIElement {
  const source = sources[claim.source];
  const title = source?.title ?? claim.source;
  const url = source?.url;
  const named = url === undefined ? title : element('a', { href: url, rel: 'noreferrer' }, title);
  const more = [
    claim.since === undefined ? undefined : `since ${claim.since}`,
    claim.note,
    claim.shownBy === undefined ? undefined : `shown by ${claim.shownBy}`,
  ].filter((text) => text !== undefined);
  return element(
    'li',
    claim.value === value || feature.type === 'text' ? {} : { class: 'against' },
    element('strong', {}, String(claim.value)),
    ' · ',
    named,
    `, ${claim.date}`,
    ...more.map((text) => element('div', {}, text)),
  );
}
