/** Kubernetes' label selectors as selectors of the rule language. Equal selections give equal values. */
import type { Fact, Scope, Selector } from '#model/policy.ts';
import type { LabelSelector } from '#model/manifest-shapes.ts';

/** All of them, flattened and without what is always true. */
export function allOf(...selectors: readonly Selector[]): Selector {
  const parts = selectors.flatMap((each) => (each.op === 'and' ? each.of : [each]));
  const [only] = parts;
  return parts.length === 1 && only !== undefined ? only : { op: 'and', of: parts };
}

export function factIs(key: Fact, ...values: readonly string[]): Selector {
  return { op: 'in', scope: 'fact', key, values };
}

/** An empty selector matches everything. `In` and `NotIn` differ from Exists: an absent label is not in any list. */
export function fromLabelSelector({ matchLabels, matchExpressions }: LabelSelector, scope: Scope): Selector {
  const labels = Object.entries(matchLabels ?? {}).map(([key, value]): Selector => ({
    op: 'in',
    scope,
    key,
    values: [value],
  }));
  const expressions = (matchExpressions ?? []).map(({ key, operator, values }): Selector => {
    const isIn: Selector = { op: 'in', scope, key, values: [...new Set(values ?? [])].sort() };
    const has: Selector = { op: 'has', scope, key };
    return { In: isIn, NotIn: not(isIn), Exists: has, DoesNotExist: not(has) }[operator];
  });
  const texts = [...labels, ...expressions].map((test) => JSON.stringify(test));
  return allOf(...[...new Set(texts)].sort().map((text) => JSON.parse(text) as Selector));
}

function not(of: Selector): Selector {
  return { op: 'not', of };
}

/** Pods of the namespaces and with the labels; host-network pods are never among them. */
export function podsOf(namespaces: Selector, pods: Selector): Selector {
  return allOf(factIs('kind', 'pod'), namespaces, pods);
}
