/**
 * A second opinion on Calico's policies, for tests: read straight from the manifests, written from Calico's documentation
 * of its objects and of the order in which they are asked, sharing no code with the room. Every endpoint has one bag of
 * labels, as in Calico. Valid manifests only, whose tiers and crossings are told.
 */
import type { Crossing, Flow } from '#model/verdict.ts';
import type { PolicyWorld } from '#model/workload.ts';
import { at, isIn, list, matches, number, text, type Thing, thingsOf, within } from './calico-things.ts';

type Way = 'ingress' | 'egress';
type Answer = 'yes' | 'no' | 'next';
export type CalicoCase = {
  /** What is in force. */
  readonly objects: readonly object[];
  readonly world: PolicyWorld;
  readonly flow: Flow;
};
type Case = CalicoCase & { readonly things: readonly Thing[] };

export function calicoOracle(one: CalicoCase): 'allow' | 'deny' {
  const things = thingsOf(one.objects, one.world);
  const whole: Case = { ...one, things };
  const { flow } = one;
  const out = things.filter((each) => each.kind === 'pod' && isIn(each, flow.source));
  const into = things.filter((each) => each.kind === 'pod' && isIn(each, flow.destination));
  const self = flow.before === undefined && out.some((each) => into.includes(each));
  const fine =
    self ||
    (out.every((pod) => podSays(pod, 'egress', whole)) &&
      into.every((pod) => isFromOwnNode(pod, whole) || podSays(pod, 'ingress', whole)));
  return fine && (flow.crossings ?? []).every((crossing) => hostSays(crossing, whole)) ? 'allow' : 'deny';
}

function isFromOwnNode(pod: Thing, { world, flow }: Case): boolean {
  return (world.nodes.get(pod.node)?.addresses ?? []).some((each) => each === flow.source);
}

function podSays(pod: Thing, way: Way, one: Case): boolean {
  const answer = tiersSay(pod, way, one, { scopes: ['', 'applyOnForward'], endsTiers: true });
  if (answer !== 'next') return answer === 'yes';
  return pod.profiles === undefined || profilesSay(pod.profiles, way, one);
}

function profilesSay(names: readonly string[], way: Way, one: Case): boolean {
  for (const name of names) {
    if (name === 'projectcalico-default-allow') return true;
    const found = one.objects.find(
      (o) => text(o, 'kind') === 'Profile' && text(o, 'metadata', 'name') === name,
    );
    if (found === undefined) return false;
    for (const rule of list(found, 'spec', way)) {
      const action = text(rule, 'action');
      if (action !== 'Log' && ruleHolds(rule, '', one)) return action === 'Allow';
    }
  }
  return false;
}

type Asked = { readonly scopes: readonly string[]; readonly endsTiers: boolean };

function tiersSay(who: Thing, way: Way, one: Case, { scopes, endsTiers }: Asked): Answer {
  for (const { name, passes } of tierList(one.objects)) {
    const mine = one.objects
      .filter(
        (o) => isPolicy(o) && (text(o, 'spec', 'tier') || 'default') === name && typesOf(o).includes(way),
      )
      .filter((o) => scopes.includes(scopeOf(o)) && selects(o, who))
      .sort(byOrder);
    const answer = firstAnswer(mine, way, one);
    if (answer === 'yes' || answer === 'no') return answer;
    if (answer === undefined && mine.length > 0 && endsTiers && !passes) return 'no';
  }
  return 'next';
}

/** Undefined: no rule that decides holds. */
function firstAnswer(policies: readonly object[], way: Way, one: Case): Answer | undefined {
  for (const policy of policies) {
    const namespace = text(policy, 'kind') === 'NetworkPolicy' ? text(policy, 'metadata', 'namespace') : '';
    for (const rule of list(policy, 'spec', way)) {
      const action = text(rule, 'action');
      if (action === 'Log' || !ruleHolds(rule, namespace, one)) continue;
      return action === 'Pass' ? 'next' : action === 'Allow' ? 'yes' : 'no';
    }
  }
  return undefined;
}

function tierList(objects: readonly object[]): { readonly name: string; readonly passes: boolean }[] {
  const own = objects
    .filter((o) => text(o, 'kind') === 'Tier')
    .map((o) => ({
      name: text(o, 'metadata', 'name'),
      order: number(o, 'spec', 'order') ?? 1e99,
      passes: text(o, 'spec', 'defaultAction') === 'Pass',
    }));
  const builtIn = [
    { name: 'kube-admin', order: 1e3, passes: true },
    { name: 'default', order: 1e6, passes: false },
  ];
  return [...own, ...builtIn].sort((a, b) => a.order - b.order);
}

function isPolicy(o: object): boolean {
  return ['NetworkPolicy', 'GlobalNetworkPolicy'].includes(text(o, 'kind'));
}

function typesOf(o: object): string[] {
  const types = list(o, 'spec', 'types').map((each) => String(each).toLowerCase());
  if (types.length > 0) return types;
  const rules = (['ingress', 'egress'] as const).filter((way) => list(o, 'spec', way).length > 0);
  return rules.length === 0 ? ['ingress'] : rules;
}

function scopeOf(o: object): string {
  const flags = ['doNotTrack', 'preDNAT', 'applyOnForward'];
  return flags.find((flag) => at(o, 'spec', flag) === true) ?? '';
}

function byOrder(a: object, b: object): number {
  const [left, right] = [a, b].map((o) => number(o, 'spec', 'order') ?? 1e99) as [number, number];
  return left - right || (fullName(a) < fullName(b) ? -1 : 1);
}

/** Names first, then namespaces, of which none is the least: a blank sorts before whatever names are made of. */
function fullName(o: object): string {
  return `${text(o, 'metadata', 'name')} ${text(o, 'metadata', 'namespace')}`;
}

function selects(o: object, who: Thing): boolean {
  if (text(o, 'kind') === 'NetworkPolicy' && text(o, 'metadata', 'namespace') !== who.ns) return false;
  return (
    matches(text(o, 'spec', 'selector'), who.bag) &&
    matches(text(o, 'spec', 'namespaceSelector'), who.nsBag, { all: who.ns !== undefined }) &&
    matches(text(o, 'spec', 'serviceAccountSelector'), who.saBag, { all: who.sa !== undefined })
  );
}

const PORTED: ReadonlySet<number> = new Set([6, 17, 132, 136]);
const NUMBERS: Readonly<Record<string, number>> = {
  TCP: 6,
  UDP: 17,
  ICMP: 1,
  ICMPv6: 58,
  SCTP: 132,
  UDPLite: 136,
};

function ruleHolds(rule: unknown, namespace: string, one: Case): boolean {
  const { flow } = one;
  const proto = (name: string): number | undefined => {
    const value = at(rule, name) as string | number | undefined;
    return value === undefined ? undefined : (NUMBERS[value] ?? Number(value));
  };
  const version = number(rule, 'ipVersion');
  if (version !== undefined && (version === 6) !== flow.source.includes(':')) return false;
  if (proto('protocol') !== undefined && proto('protocol') !== flow.protocol) return false;
  if (proto('notProtocol') === flow.protocol) return false;
  if (at(rule, 'icmp', 'type') !== undefined && !isIcmp(at(rule, 'icmp'), flow)) return false;
  if (at(rule, 'notICMP', 'type') !== undefined && isIcmp(at(rule, 'notICMP'), flow)) return false;
  return (['source', 'destination'] as const).every((end) => endHolds(at(rule, end), end, namespace, one));
}

function isIcmp(said: unknown, { icmp }: Flow): boolean {
  const code = number(said, 'code');
  return number(said, 'type') === icmp?.type && (code === undefined || code === icmp?.code);
}

type End = 'source' | 'destination';

function endHolds(said: unknown, end: End, namespace: string, one: Case): boolean {
  if (said === undefined) return true;
  const ip = one.flow[end];
  const any = (key: string, holds: (each: unknown) => boolean): boolean | undefined =>
    list(said, key).length === 0 ? undefined : list(said, key).some(holds);
  const inNet = (each: unknown): boolean => within(ip, String(each));
  const isPort = (each: unknown): boolean => portHolds(each, end, one);
  const holds = [
    any('nets', inNet),
    any('ports', isPort),
    any('domains', (each) => isNamed(String(each), ip, one)),
  ];
  const excluded = [any('notNets', inNet), any('notPorts', isPort)];
  return (
    holds.every((each) => each !== false) &&
    excluded.every((each) => each !== true) &&
    peersHold(said, ip, namespace, one) &&
    (at(said, 'services') === undefined || serviceHolds(at(said, 'services'), end, namespace, one))
  );
}

function isNamed(name: string, ip: string, { world }: Case): boolean {
  const learned = world.names.get(name.toLowerCase().slice(0, -1));
  return [...(learned ?? [])].some((each) => each === ip);
}

function peersHold(said: unknown, ip: string, namespace: string, { things }: Case): boolean {
  const here = things.filter((each) => isIn(each, ip));
  const not = text(said, 'notSelector');
  if (not !== '' && here.some((each) => matches(not, each.bag))) return false;
  const [selector, spaces] = [text(said, 'selector'), text(said, 'namespaceSelector')];
  const names = list(said, 'serviceAccounts', 'names');
  const accounts = text(said, 'serviceAccounts', 'selector');
  const isGlobal = spaces.includes('global()');
  const isSelecting = selector !== '' || names.length > 0 || accounts !== '';
  if (!isSelecting && spaces === '' && (not === '' || namespace === '')) return true;
  return here.some((each) => {
    const isPlace = isGlobal
      ? each.ns === undefined
      : spaces !== ''
        ? matches(spaces, each.nsBag, { all: each.ns !== undefined })
        : namespace === '' || each.ns === namespace;
    return (
      isPlace &&
      matches(selector, each.bag) &&
      (names.length === 0 || names.includes(each.sa)) &&
      matches(accounts, each.saBag, { all: each.sa !== undefined })
    );
  });
}

function serviceHolds(said: unknown, end: End, namespace: string, { world, flow }: Case): boolean {
  const backends = world.services.get(`${text(said, 'namespace') || namespace}/${text(said, 'name')}`) ?? [];
  return backends.some(
    (each) =>
      each.address === flow[end] &&
      (end === 'source' || (each.port === flow.destinationPort && each.protocol === flow.protocol)),
  );
}

function portHolds(said: unknown, end: End, { things, flow }: Case): boolean {
  const got = PORTED.has(flow.protocol)
    ? end === 'source'
      ? flow.sourcePort
      : flow.destinationPort
    : undefined;
  if (got === undefined) return false;
  const [from = NaN, to = from] = String(said).split(':').map(Number);
  if (!Number.isNaN(from)) return from <= got && got <= to;
  const here = things.filter((each) => isIn(each, flow[end]));
  const wanted = `${String(said)} ${flow.protocol} ${got}`;
  return here.some((each) => each.ports.some((p) => `${p.name} ${p.protocol} ${p.port}` === wanted));
}

function hostSays(crossing: Crossing, one: Case): boolean {
  const who = hostAt(crossing, one.things);
  const { direction, forwarded } = crossing;
  if (who === undefined) return true;
  const early = { ...one, flow: { ...one.flow, ...one.flow.before } };
  const first = isOpen(direction, early) ? 'next' : earlySays(who, crossing, early);
  if (first !== 'next') return first === 'yes';
  return (!forwarded && isOpen(direction, one)) || lateSays(who, crossing, one);
}

function lateSays(who: Thing, { direction, forwarded, toPod }: Crossing, one: Case): boolean {
  const all = ['', 'applyOnForward'];
  if (forwarded) return tiersSay(who, direction, one, { scopes: all.slice(1), endsTiers: true }) !== 'no';
  if (toPod === true) return true;
  const last = tiersSay(who, direction, one, { scopes: all, endsTiers: true });
  return last === 'next' ? profilesSay(who.profiles ?? [], direction, one) : last === 'yes';
}

function hostAt(crossing: Crossing, things: readonly Thing[]): Thing | undefined {
  const ours = things.filter((each) => each.kind === 'host' && each.node === crossing.node);
  return ours.find((each) => each.iface === crossing.interface) ?? ours.find((each) => each.iface === '*');
}

/** The raw table has no chain for what leaves forwarded, and lets answers of failsafe ports pass. */
function earlySays(who: Thing, { direction, forwarded }: Crossing, one: Case): Answer {
  const ask = (scope: string): Answer => tiersSay(who, direction, one, { scopes: [scope], endsTiers: false });
  const answers = direction === 'ingress' ? 'egress' : 'ingress';
  const isRaw = who.iface !== '*' && (direction === 'ingress' || !forwarded);
  const untracked = !isRaw || isOpen(direction, one, answers) ? 'next' : ask('doNotTrack');
  return untracked === 'next' && direction === 'ingress' ? ask('preDNAT') : untracked;
}

/** With `answers`: as an answer of a port that is open in that direction. */
function isOpen(way: Way, { world, flow }: Case, answers?: Way): boolean {
  const far = way === 'ingress' ? flow.source : flow.destination;
  const port = answers === undefined ? flow.destinationPort : flow.sourcePort;
  return world.failsafe[answers ?? way].some(
    ({ protocol, ports, prefix }) =>
      protocol === flow.protocol &&
      ports.from <= (port ?? -1) &&
      (port ?? 1e9) <= ports.to &&
      (prefix === undefined || within(far, prefix)),
  );
}
