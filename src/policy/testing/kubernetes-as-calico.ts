/**
 * Kubernetes' NetworkPolicy written as Calico's, as Calico itself does it (one rule for each peer and protocol, order
 * 1000), for tests that both frontends mean the same. Valid manifests only. That a pod always reaches its own node cannot
 * be said in Calico.
 */
import { at, list, number, text } from './calico-things.ts';
import type { Json } from './manifests.ts';

export function asCalico(policy: Json): Json {
  const spec = policy['spec'];
  const types = list(spec, 'policyTypes');
  const derived = list(spec, 'egress').length > 0 ? ['Ingress', 'Egress'] : ['Ingress'];
  return {
    apiVersion: 'projectcalico.org/v3',
    kind: 'NetworkPolicy',
    metadata: policy['metadata'],
    spec: {
      order: 1_000,
      selector: selectorText(at(spec, 'podSelector'), "projectcalico.org/orchestrator == 'k8s'"),
      types: types.length > 0 ? types : derived,
      ingress: list(spec, 'ingress').flatMap((rule) => rulesOf(rule, 'from', 'source')),
      egress: list(spec, 'egress').flatMap((rule) => rulesOf(rule, 'to', 'destination')),
    },
  };
}

/** One for each peer and port. */
function rulesOf(rule: unknown, peers: 'from' | 'to', end: 'source' | 'destination'): Json[] {
  const entities = list(rule, peers).length === 0 ? [{}] : list(rule, peers).map(entityOf);
  const ports = list(rule, 'ports').length === 0 ? [{}] : list(rule, 'ports').map(portOf);
  return entities.flatMap((entity) =>
    ports.map(({ protocol, destination }): Json => {
      const said = protocol === undefined ? {} : { protocol };
      if (end === 'source')
        return { action: 'Allow', ...said, source: entity, destination: destination ?? {} };
      return { action: 'Allow', ...said, destination: { ...entity, ...destination } };
    }),
  );
}

function entityOf(peer: unknown): Json {
  const block = at(peer, 'ipBlock');
  if (block !== undefined) return { nets: [text(block, 'cidr')], notNets: list(block, 'except') };
  const pods = at(peer, 'podSelector');
  const spaces = at(peer, 'namespaceSelector');
  return {
    ...(pods === undefined && spaces !== undefined ? {} : { selector: selectorText(pods, 'all()') }),
    ...(spaces === undefined ? {} : { namespaceSelector: selectorText(spaces, 'all()') }),
  };
}

function portOf(said: unknown): { readonly protocol?: string; readonly destination?: Json } {
  const protocol = text(said, 'protocol') || 'TCP';
  const port = at(said, 'port');
  if (port === undefined) return { protocol };
  const last = number(said, 'endPort');
  return {
    protocol,
    destination: { ports: [last === undefined ? port : `${number(said, 'port')}:${last}`] },
  };
}

const OPERATORS: Readonly<Record<string, (key: string, values: string) => string>> = {
  In: (key, values) => `${key} in {${values}}`,
  NotIn: (key, values) => `${key} not in {${values}}`,
  Exists: (key) => `has(${key})`,
  DoesNotExist: (key) => `!has(${key})`,
};

function selectorText(selector: unknown, first: string): string {
  const labels = Object.entries((at(selector, 'matchLabels') ?? {}) as Record<string, string>);
  const expressions = list(selector, 'matchExpressions').map((each) => {
    const values = (list(each, 'values') as string[]).map((value) => `'${value}'`).join(', ');
    return OPERATORS[text(each, 'operator')]?.(text(each, 'key'), values) ?? '';
  });
  return [first, ...labels.map(([key, value]) => `${key} == '${value}'`), ...expressions].join(' && ');
}
