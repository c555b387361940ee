/**
 * Whose labels the names in Calico's selectors are. Calico gives every endpoint one bag of labels: its own, those of its
 * namespace as `pcns.NAME`, of its service account as `pcsa.NAME`, and some that it makes itself. Here the latter are
 * facts, and the prefixes scopes, which nobody can write on a pod. Equal selections give equal values.
 */
import { type Fact, type Scope, type Selector } from '#model/policy.ts';
import { factIs } from './selectors.ts';

export type Place = 'own' | 'namespace' | 'account';

type LabelTest = Exclude<Selector, { op: 'and' | 'or' | 'not' }>;

const NOTHING: Selector = { op: 'or', of: [] };
export const HAS_NAMESPACE: Selector = { op: 'has', scope: 'fact', key: 'namespace' };
const HAS_ACCOUNT: Selector = { op: 'has', scope: 'fact', key: 'account' };

/** `all()` of namespaces is everything that is in one. */
const ALL: Readonly<Record<Place, Selector>> = {
  own: { op: 'and', of: [] },
  namespace: HAS_NAMESPACE,
  account: HAS_ACCOUNT,
};

/** What a selector as parseSelector reads it means where it is written: of endpoints, namespaces or service accounts. */
export function placeSelector(selector: Selector, place: Place): Selector {
  switch (selector.op) {
    case 'and':
    case 'or':
      if (selector.of.length === 0) return selector.op === 'and' ? ALL[place] : NOTHING;
      return join(
        selector.op,
        selector.of.map((each) => placeSelector(each, place)),
      );
    case 'not':
      return negate(placeSelector(selector.of, place));
    default:
      return placeTest(selector, place);
  }
}

export function negate(selector: Selector): Selector {
  return selector.op === 'not' ? selector.of : { op: 'not', of: selector };
}

/** Flattened, sorted and each once; what is alone stands alone. */
export function join(op: 'and' | 'or', parts: readonly Selector[]): Selector {
  const flat = parts.flatMap((each) => (each.op === op ? each.of : [each]));
  const byText = new Map(flat.map((each) => [JSON.stringify(each), each]));
  const of = [...byText].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, each]) => each);
  const [only] = of;
  return of.length === 1 && only !== undefined ? only : { op, of };
}

function placeTest(test: LabelTest, place: Place): Selector {
  if (place === 'own' && test.key === 'projectcalico.org/orchestrator') return orchestratorTest(test);
  const [scope, key] = place === 'own' ? ownLabel(test.key) : inheritedLabel(place, test.key);
  return relabel(test, scope, key);
}

const FACTS: ReadonlyMap<string, Fact> = new Map([
  ['projectcalico.org/namespace', 'namespace'],
  ['projectcalico.org/serviceaccount', 'account'],
]);

function ownLabel(key: string): readonly [Scope, string] {
  const fact = FACTS.get(key);
  if (fact !== undefined) return ['fact', fact];
  if (key.startsWith('pcns.')) return inheritedLabel('namespace', key.slice(5));
  if (key.startsWith('pcsa.')) return inheritedLabel('account', key.slice(5));
  return ['own', key];
}

function inheritedLabel(scope: 'namespace' | 'account', key: string): readonly [Scope, string] {
  return key === 'projectcalico.org/name' ? ['fact', scope] : [scope, key];
}

/** With the fields in one order, as equal selectors have equal texts. */
function relabel(test: LabelTest, scope: Scope, key: string): Selector {
  if (test.op === 'has') return { op: 'has', scope, key };
  if (test.op === 'in') return { op: 'in', scope, key, values: test.values };
  return { op: test.op, scope, key, value: test.value };
}

/** The label is `k8s` on every pod and nowhere else. */
function orchestratorTest(test: LabelTest): Selector {
  const holds = {
    has: () => true,
    in: () => test.op === 'in' && test.values.includes('k8s'),
    contains: () => 'value' in test && 'k8s'.includes(test.value),
    starts: () => 'value' in test && 'k8s'.startsWith(test.value),
    ends: () => 'value' in test && 'k8s'.endsWith(test.value),
  }[test.op]();
  return holds ? factIs('kind', 'pod') : NOTHING;
}
