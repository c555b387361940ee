/** What selectors mean: each operator, asked of labels that a lookup gives. */
import type { Scope, Selector } from './policy.ts';

/** The value of a label, or undefined when it is absent. */
export type LabelLookup = (scope: Scope, key: string) => string | undefined;

export function matchesSelector(selector: Selector, lookup: LabelLookup): boolean {
  switch (selector.op) {
    case 'and':
      return selector.of.every((inner) => matchesSelector(inner, lookup));
    case 'or':
      return selector.of.some((inner) => matchesSelector(inner, lookup));
    case 'not':
      return !matchesSelector(selector.of, lookup);
    default: {
      const value = lookup(selector.scope, selector.key);
      return value !== undefined && matchesValue(selector, value);
    }
  }
}

type LabelTest = Exclude<Selector, { op: 'and' | 'or' | 'not' }>;

function matchesValue(test: LabelTest, value: string): boolean {
  if (test.op === 'has') return true;
  if (test.op === 'in') return test.values.includes(value);
  if (test.op === 'contains') return value.includes(test.value);
  return test.op === 'starts' ? value.startsWith(test.value) : value.endsWith(test.value);
}
