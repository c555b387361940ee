/**
 * A second opinion on Kubernetes' policies, for tests: read straight from the manifests, written from the documentation
 * and the API types, sharing no code with the room. Valid manifests only.
 */
import type { Flow } from '#model/verdict.ts';
import type { NamedPort, PolicyWorld } from '#model/workload.ts';

type Labels = Readonly<Record<string, string>>;
type Way = 'ingress' | 'egress';
type Subject = {
  readonly ns: string;
  readonly nsLabels: Labels;
  readonly labels: Labels;
  readonly node: string;
  readonly ports: readonly NamedPort[];
  readonly ips: readonly string[];
};
type Case = { readonly flow: Flow; readonly pods: readonly Subject[]; readonly world: PolicyWorld };

const NUMBER: Readonly<Record<string, number>> = { TCP: 6, UDP: 17, SCTP: 132 };

/** Manifests are looked into without types: types would be a second copy of the schema. */
function at(value: unknown, ...path: readonly string[]): unknown {
  const inner = path.reduce<unknown>(
    (here, key) => (here as Record<string, unknown> | undefined)?.[key],
    value,
  );
  return inner ?? undefined;
}
const list = (value: unknown, ...path: readonly string[]): unknown[] =>
  (at(value, ...path) as unknown[]) ?? [];
const text = (value: unknown, ...path: readonly string[]): string => (at(value, ...path) as string) ?? '';
const number = (value: unknown, ...path: readonly string[]): number => at(value, ...path) as number;

export function oracle(objects: readonly object[], world: PolicyWorld, flow: Flow): 'allow' | 'deny' {
  const pods = world.endpoints.flatMap((e): Subject[] => {
    if (e.kind !== 'pod' || e.hostNetwork) return [];
    const { namespace: ns, labels, node, ports, addresses: ips } = e;
    return [{ ns, nsLabels: world.namespaces.get(ns) ?? {}, labels, node, ports, ips }];
  });
  const one: Case = { flow, pods, world };
  const src = pods.find((p) => p.ips.includes(flow.source));
  const dst = pods.find((p) => p.ips.includes(flow.destination));
  if (src !== undefined && src === dst && flow.before === undefined) return 'allow';
  if (src !== undefined && !decide(objects, src, 'egress', one)) return 'deny';
  if (dst !== undefined && !isHere(dst, flow.source, one) && !decide(objects, dst, 'ingress', one))
    return 'deny';
  return 'allow';
}

/** Whether the address is that of the pod's node. */
function isHere(pod: Subject, ip: string, { world }: Case): boolean {
  return (world.nodes.get(pod.node)?.addresses ?? []).some((each) => each === ip);
}

function decide(objects: readonly object[], pod: Subject, way: Way, one: Case): boolean {
  const early = clusterVerdict(objects, pod, way, { one, tier: 'Admin' });
  if (early !== 'next') return early === 'yes';
  const mine = objects.filter(
    (o) => text(o, 'kind') === 'NetworkPolicy' && selects(o, pod) && concerns(o, way),
  );
  if (mine.length === 0) return clusterVerdict(objects, pod, way, { one, tier: 'Baseline' }) !== 'no';
  if (way === 'egress' && isHere(pod, one.flow.destination, one)) return true;
  return mine.some((o) => permits(o, way, one));
}

function selects(o: object, pod: Subject): boolean {
  return text(o, 'metadata', 'namespace') === pod.ns && picks(at(o, 'spec', 'podSelector'), pod.labels);
}

function concerns(o: object, way: Way): boolean {
  const types = list(o, 'spec', 'policyTypes') as string[];
  if (types.length > 0) return types.some((type) => type.toLowerCase() === way);
  return way === 'ingress' || list(o, 'spec', 'egress').length > 0;
}

function permits(o: object, way: Way, one: Case): boolean {
  const namespace = text(o, 'metadata', 'namespace');
  return list(o, 'spec', way).some((rule) => {
    const peers = list(rule, way === 'ingress' ? 'from' : 'to');
    const ports = list(rule, 'ports');
    return (
      (peers.length === 0 || peers.some((p) => isNetworkPeer(p, namespace, remote(way, one), one))) &&
      (ports.length === 0 || ports.some((p) => isNetworkPort(p, one)))
    );
  });
}

function remote(way: Way, { flow }: Case): string {
  return way === 'ingress' ? flow.source : flow.destination;
}

function isNetworkPeer(peer: unknown, namespace: string, ip: string, { pods }: Case): boolean {
  if (at(peer, 'ipBlock')) {
    const except = list(peer, 'ipBlock', 'except') as string[];
    return within(ip, text(peer, 'ipBlock', 'cidr')) && !except.some((cidr) => within(ip, cidr));
  }
  const pod = pods.find((p) => p.ips.includes(ip));
  if (pod === undefined) return false;
  const spaces = at(peer, 'namespaceSelector');
  const isSpace = spaces ? picks(spaces, pod.nsLabels) : pod.ns === namespace;
  return isSpace && picks(at(peer, 'podSelector'), pod.labels);
}

function isNetworkPort(port: unknown, { flow, pods }: Case): boolean {
  if (NUMBER[text(port, 'protocol') || 'TCP'] !== flow.protocol) return false;
  const want = at(port, 'port');
  if (want === undefined) return true;
  const got = flow.destinationPort ?? -1;
  if (typeof want === 'number') return want <= got && got <= (number(port, 'endPort') ?? want);
  return isNamed(text(port, 'port'), flow, pods);
}

function isNamed(name: string, flow: Flow, pods: readonly Subject[]): boolean {
  const pod = pods.find((p) => p.ips.includes(flow.destination));
  const wanted = `${name} ${flow.protocol} ${flow.destinationPort}`;
  return (pod?.ports ?? []).some((p) => `${p.name} ${p.protocol} ${p.port}` === wanted);
}

type Level = { readonly one: Case; readonly tier: 'Admin' | 'Baseline' };

function clusterVerdict(
  objects: readonly object[],
  pod: Subject,
  way: Way,
  level: Level,
): 'yes' | 'no' | 'next' {
  const inTier = objects.filter((o) => tierOf(o) === level.tier && isSubject(at(o, 'spec', 'subject'), pod));
  const rank = (o: object): number => number(o, 'spec', 'priority') ?? 1e9;
  const rules = inTier.sort((a, b) => rank(a) - rank(b)).flatMap((o) => list(o, 'spec', way));
  const action = text(
    rules.find((rule) => isClusterRule(rule, way, level.one)),
    'action',
  );
  if (action === '' || action === 'Pass') return 'next';
  return action === 'Deny' ? 'no' : 'yes';
}

function tierOf(o: object): string {
  const tiers: Readonly<Record<string, string>> = {
    ClusterNetworkPolicy: text(o, 'spec', 'tier'),
    AdminNetworkPolicy: 'Admin',
    BaselineAdminNetworkPolicy: 'Baseline',
  };
  return tiers[text(o, 'kind')] ?? '';
}

function isSubject(peer: unknown, pod: Subject): boolean {
  const spaces = at(peer, 'namespaces');
  if (spaces) return picks(spaces, pod.nsLabels);
  const both = at(peer, 'pods');
  return (
    !!both && picks(at(both, 'namespaceSelector'), pod.nsLabels) && picks(at(both, 'podSelector'), pod.labels)
  );
}

function isClusterRule(rule: unknown, way: Way, one: Case): boolean {
  const ports = [...list(rule, 'protocols'), ...list(rule, 'ports')];
  return (
    list(rule, way === 'ingress' ? 'from' : 'to').some((p) => isClusterPeer(p, remote(way, one), one)) &&
    (ports.length === 0 || ports.some((p) => isClusterPort(p, one)))
  );
}

function isClusterPeer(peer: unknown, ip: string, { pods, world }: Case): boolean {
  const nodes = at(peer, 'nodes');
  if (nodes) {
    const there = [...world.nodes.values()].filter((n) => n.addresses.some((each) => each === ip));
    return there.some((n) => picks(nodes, n.labels));
  }
  const networks = list(peer, 'networks') as string[];
  return (
    networks.some((cidr) => within(ip, cidr)) || pods.some((p) => p.ips.includes(ip) && isSubject(peer, p))
  );
}

function isClusterPort(port: unknown, { flow, pods }: Case): boolean {
  const name = text(port, 'destinationNamedPort') || text(port, 'namedPort');
  if (name) return isNamed(name, flow, pods);
  const [protocol, from, to] = numbersOf(port);
  const got = flow.destinationPort ?? -1;
  return NUMBER[protocol] === flow.protocol && from <= got && got <= to;
}

function numbersOf(port: unknown): [string, number, number] {
  const single = at(port, 'portNumber');
  if (single) return [text(single, 'protocol') || 'TCP', number(single, 'port'), number(single, 'port')];
  const range = at(port, 'portRange');
  if (range) return [text(range, 'protocol') || 'TCP', number(range, 'start'), number(range, 'end')];
  const key = ['tcp', 'udp', 'sctp'].find((each) => at(port, each)) ?? '';
  const place = at(port, key, 'destinationPort');
  const exact = number(place, 'number');
  return [
    key.toUpperCase(),
    exact ?? number(place, 'range', 'start'),
    exact ?? number(place, 'range', 'end'),
  ];
}

/** LabelSelector: nothing said selects all. */
function picks(selector: unknown, labels: Labels): boolean {
  const exact = Object.entries((at(selector, 'matchLabels') ?? {}) as Labels).every(
    ([k, v]) => labels[k] === v,
  );
  return exact && list(selector, 'matchExpressions').every((e) => meets(e, labels[text(e, 'key')]));
}

function meets(e: unknown, value: string | undefined): boolean {
  const isIn = value !== undefined && list(e, 'values').includes(value);
  const answers: Readonly<Record<string, boolean>> = {
    Exists: value !== undefined,
    DoesNotExist: value === undefined,
    In: isIn,
    NotIn: !isIn,
  };
  return answers[text(e, 'operator')] ?? false;
}

/** By comparing the leading bits as text. */
export function within(ip: string, cidr: string): boolean {
  const [base = '', length = '0'] = cidr.split('/');
  if (ip.includes(':') !== base.includes(':')) return false;
  return bits(ip).slice(0, Number(length)) === bits(base).slice(0, Number(length));
}

function bits(ip: string): string {
  if (!ip.includes(':'))
    return ip
      .split('.')
      .map((n) => Number(n).toString(2).padStart(8, '0'))
      .join('');
  const [left = '', right] = ip.split('::');
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'));
  const head = groups(left);
  const tail = groups(right ?? '');
  const zeros = Array.from({ length: right === undefined ? 0 : 8 - head.length - tail.length }, () => '0');
  return [...head, ...zeros, ...tail]
    .map((g) => Number.parseInt(g, 16).toString(2).padStart(16, '0'))
    .join('');
}
