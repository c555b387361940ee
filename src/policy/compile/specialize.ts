/** Selectors of which a part is known: what is true of a whole namespace is asked once, not of each of its pods. */
import type { Selector } from '#model/policy.ts';
import { type LabelLookup, matchesSelector } from '#model/selector-match.ts';

type Test = Exclude<Selector, { op: 'and' | 'or' | 'not' }>;

/** What is left of the selector; a boolean when nothing is. */
export function specialize(
  selector: Selector,
  isKnown: (test: Test) => boolean,
  lookup: LabelLookup,
): Selector | boolean {
  switch (selector.op) {
    case 'not': {
      const of = specialize(selector.of, isKnown, lookup);
      return typeof of === 'boolean' ? !of : { op: 'not', of };
    }
    case 'and':
    case 'or': {
      const absorbing = selector.op === 'or';
      const left: Selector[] = [];
      for (const each of selector.of) {
        const rest = specialize(each, isKnown, lookup);
        if (rest === absorbing) return absorbing;
        if (typeof rest !== 'boolean') left.push(rest);
      }
      return left.length === 0 ? !absorbing : { op: selector.op, of: left };
    }
    default:
      return isKnown(selector) ? matchesSelector(selector, lookup) : selector;
  }
}

/** What is the same for all endpoints of one kind and namespace. */
export function isOfNamespace(test: Test): boolean {
  if (test.scope === 'namespace') return true;
  return test.scope === 'fact' && (test.key === 'namespace' || test.key === 'kind');
}
