/**
 * What a reader has chosen to see: which features are required, and which providers stand beside each other. It is the
 * page’s address too (`#need=bgp,encryption&show=calico`), so that it can be kept and sent.
 */
import type { MatrixCell, MatrixProvider, ProviderMatrix } from '#model/provider-matrix.ts';

export type Selection = {
  /** Names of features. */
  readonly needs: ReadonlySet<string>;
  /** Ids of providers; empty: all that meet the needs. */
  readonly shown: ReadonlySet<string>;
  /** Only rows in which those that are shown differ. */
  readonly differing: boolean;
};

export type Excluded = { readonly provider: MatrixProvider; readonly by: readonly string[] };

export function readSelection(hash: string, matrix: ProviderMatrix): Selection {
  const parameters = new URLSearchParams(hash.replace(/^#/, ''));
  const words = (name: string): string[] => (parameters.get(name) ?? '').split(',');
  const features = new Set(matrix.groups.flatMap((group) => group.features.map(({ name }) => name)));
  const ids = new Set(matrix.providers.map(({ id }) => id));
  return {
    needs: new Set(words('need').filter((name) => features.has(name))),
    shown: new Set(words('show').filter((id) => ids.has(id))),
    differing: parameters.get('only') === 'differing',
  };
}

/** Empty for the selection of nothing. */
export function writeSelection({ needs, shown, differing }: Selection): string {
  const parts = [
    ...(needs.size === 0 ? [] : [`need=${[...needs].join(',')}`]),
    ...(shown.size === 0 ? [] : [`show=${[...shown].join(',')}`]),
    ...(differing ? ['only=differing'] : []),
  ];
  return parts.length === 0 ? '' : `#${parts.join('&')}`;
}

export function toggled(set: ReadonlySet<string>, word: string): ReadonlySet<string> {
  const next = new Set(set);
  if (!next.delete(word)) next.add(word);
  return next;
}

/** As the advice has it: `no` excludes, `unknown` and `partly` do not. */
export function excludedBy({ needs }: Selection, { providers }: ProviderMatrix): Excluded[] {
  return providers.flatMap((provider) => {
    const by = [...needs].filter((name) => cellOf(provider, name).value === 'no');
    return by.length === 0 ? [] : [{ provider, by }];
  });
}

export function columnsOf(selection: Selection, matrix: ProviderMatrix): readonly MatrixProvider[] {
  const out = new Set(excludedBy(selection, matrix).map(({ provider }) => provider));
  return matrix.providers.filter(
    (provider) => !out.has(provider) && (selection.shown.size === 0 || selection.shown.has(provider.id)),
  );
}

export function isDiffering(name: string, columns: readonly MatrixProvider[]): boolean {
  return new Set(columns.map((provider) => cellOf(provider, name).value)).size > 1;
}

const NOTHING: MatrixCell = { value: 'unknown', claims: [], against: 0 };

export function cellOf(provider: MatrixProvider, name: string): MatrixCell {
  return provider.cells[name] ?? NOTHING;
}
