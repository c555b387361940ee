/**
 * Rules of Calico's policies and profiles (api/pkg/apis/projectcalico/v3/policy_common.go): all that is said in a rule
 * must hold, each thing has a negated twin, and the first rule that matches acts.
 */
import { z } from 'zod';
import type { Direction, End } from '#model/policy.ts';
import { type Prefix, prefixFamily } from '#net/prefix.ts';
import { domainName } from './cluster-policy.ts';
import {
  net,
  peerNamespaces,
  port,
  protocol,
  readProtocol,
  selectorOf,
  WITH_PORTS,
} from './calico-shapes.ts';
import {
  across,
  type Fields,
  isFields,
  isThere,
  listOf,
  type Say,
  texts,
  wholeNumber,
} from '#model/manifest-shapes.ts';

const LABEL_NAME = /^(?=.{1,253}$)[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?$/;
export const objectName = z.string().regex(LABEL_NAME, 'must be a name in lower case');

/** What may be said of one end of a flow. */
const entity = z.strictObject({
  nets: listOf(net, 0, 256).nullish(),
  notNets: listOf(net, 0, 256).nullish(),
  selector: selectorOf('own').nullish(),
  notSelector: selectorOf('own').nullish(),
  namespaceSelector: peerNamespaces.nullish(),
  ports: listOf(port, 0, 50).nullish(),
  notPorts: listOf(port, 0, 50).nullish(),
  serviceAccounts: z
    .strictObject({ names: z.array(objectName).nullish(), selector: selectorOf('account').nullish() })
    .nullish(),
  services: z.strictObject({ name: objectName, namespace: objectName.nullish() }).nullish(),
  domains: listOf(domainName, 0, 25).nullish(),
});
export type Entity = z.output<typeof entity>;

const icmp = across(
  z.strictObject({ type: wholeNumber(0, 254).nullish(), code: wholeNumber(0, 255).nullish() }),
  ({ type, code }, say) => {
    if (isThere(code) && !isThere(type)) say(['code'], 'must not be there without type');
  },
);
export type Icmp = z.output<typeof icmp>;

const http = z.strictObject({
  methods: z.array(z.string()).nullish(),
  paths: z.array(z.strictObject({ exact: z.string().nullish(), prefix: z.string().nullish() })).nullish(),
});

/** Of every rule; what is asked across its fields depends on where it stands. */
export const ruleFields = z.strictObject({
  action: z.enum(['Allow', 'Deny', 'Log', 'Pass']),
  ipVersion: z
    .unknown()
    .superRefine((value, context) => {
      if (isThere(value) && value !== 4 && value !== 6)
        context.addIssue({ code: 'custom', message: 'must be 4 or 6' });
    })
    .optional(),
  protocol: protocol.nullish(),
  notProtocol: protocol.nullish(),
  icmp: icmp.nullish(),
  notICMP: icmp.nullish(),
  source: entity.nullish(),
  destination: entity.nullish(),
  http: http.nullish(),
  metadata: z.strictObject({ annotations: texts }).nullish(),
});
export type CalicoRule = z.output<typeof ruleFields>;

/** In profiles nothing can be passed on. */
export type RulePlace = { readonly direction: Direction; readonly inProfile?: true };

export function rulesOf(place: RulePlace) {
  const rule = across(ruleFields, (rule, say) => {
    checkProtocol(rule, say);
    checkFamilies(rule, say);
    checkIcmp(rule, say);
    for (const end of ['source', 'destination'] as const) checkEnd(rule, end, place, say);
    if (isThere(rule['http']))
      say(['http'], 'is not enforced yet: nobody looks into HTTP; remove it, or allow by port');
    if (place.inProfile === true && rule['action'] === 'Pass') {
      say(['action'], 'must not be Pass in a profile: nothing comes after it');
    }
  });
  return listOf(rule, 0, 1024).nullish();
}

function entityOf(rule: Fields, end: End): Fields {
  const found = rule[end];
  return isFields(found) ? found : {};
}

function asList(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

const ICMP_FAMILY: ReadonlyMap<number | undefined, 4 | 6> = new Map([
  [1, 4],
  [58, 6],
]);

function checkProtocol({ protocol, notProtocol, ipVersion }: Fields, say: Say): void {
  for (const [name, value] of [
    ['protocol', protocol],
    ['notProtocol', notProtocol],
  ] as const) {
    const family = ICMP_FAMILY.get(readProtocol(value));
    if (family === undefined || !isThere(ipVersion) || ipVersion === family) continue;
    say([name], `is of IPv${family} only, and ipVersion is ${String(ipVersion)}`);
  }
}

function checkIcmp(rule: Fields, say: Say): void {
  const isIcmp = ICMP_FAMILY.has(readProtocol(rule['protocol']));
  for (const name of ['icmp', 'notICMP']) {
    if (isThere(rule[name]) && !isIcmp) say([name], 'must come with protocol ICMP or ICMPv6');
  }
  const not = rule['notICMP'];
  if (isFields(not) && !isThere(not['type'])) say(['notICMP', 'type'], 'is missing');
}

/** A rule is about one family once it names one. */
function checkFamilies(rule: Fields, say: Say): void {
  const { ipVersion } = rule;
  const nets = netsOf(rule);
  const given = ipVersion === 4 || ipVersion === 6 ? { family: ipVersion, by: 'ipVersion' } : undefined;
  const [first] = nets.map(({ path, prefix }) => ({ family: prefixFamily(prefix), by: path.join('.') }));
  const { family, by } = given ?? first ?? { family: undefined, by: '' };
  for (const { path, prefix } of nets) {
    const own = prefixFamily(prefix);
    if (own !== family) say(path, `is IPv${own}, but the rule is of IPv${family} by ${by}`);
    if (path[1] === 'notNets' && prefix.endsWith('/0'))
      say(path, 'excludes every address: the rule could never match');
  }
}

/** Those that are right. */
function netsOf(rule: Fields): { readonly path: (string | number)[]; readonly prefix: Prefix }[] {
  const lists = (['source', 'destination'] as const).flatMap((end) =>
    ['nets', 'notNets'].map((name) => ({ end, name, list: asList(entityOf(rule, end)[name]) })),
  );
  return lists.flatMap(({ end, name, list }) =>
    list.flatMap((each, index) => {
      const prefix = net.safeParse(each).data;
      return prefix === undefined ? [] : [{ path: [end, name, index], prefix }];
    }),
  );
}

function checkEnd(rule: Fields, end: End, { direction }: RulePlace, say: Say): void {
  const entity = entityOf(rule, end);
  const remote = direction === 'ingress' ? 'source' : 'destination';
  const speak: Say = (path, message) => say([end, ...path], message);
  checkPorts(entity, rule['protocol'], speak);
  if (isThere(entity['services'])) checkServices(entity, end, remote, speak);
  if (isThere(entity['domains']))
    checkDomains(entity, rule['action'], direction === 'egress' && end === remote, speak);
}

function checkPorts(entity: Fields, protocol: unknown, say: Say): void {
  const number = readProtocol(protocol);
  for (const list of ['ports', 'notPorts']) {
    const ports = asList(entity[list]).map((each) => port.safeParse(each).data ?? each);
    const isNumbered = ports.some((each) => isFields(each) && 'range' in each);
    if (!isThere(protocol) && isNumbered) {
      say([list], 'must come with a protocol that has ports: TCP, UDP or SCTP');
    }
    if (number !== undefined && ports.length > 0 && !WITH_PORTS.has(number)) {
      say([list], 'must not be there: of the protocols, only TCP, UDP and SCTP have ports in policies');
    }
  }
}

const OTHERS = ['selector', 'notSelector', 'namespaceSelector', 'serviceAccounts', 'nets', 'notNets'];

function isSaid(value: unknown): boolean {
  return isThere(value) && value !== '' && !(Array.isArray(value) && value.length === 0);
}

function checkServices(entity: Fields, end: End, remote: End, say: Say): void {
  if (end !== remote) say(['services'], `must be in ${remote} in this direction`);
  for (const other of OTHERS) {
    if (isSaid(entity[other])) say([other], 'must not be there beside services');
  }
  for (const list of ['ports', 'notPorts']) {
    if (end === 'destination' && isSaid(entity[list]))
      say([list], 'must not be there: the ports are those of the service');
  }
}

function checkDomains(entity: Fields, action: unknown, isPlace: boolean, say: Say): void {
  if (!isPlace || action !== 'Allow')
    say(['domains'], 'must only be in the destination of egress rules that allow');
  for (const other of [...OTHERS, 'services']) {
    if (isSaid(entity[other])) say([other], 'must not be there beside domains');
  }
}
