/**
 * Conditions of rules in the form that classes of peers are put into. A rule holds when all its clauses hold; a clause
 * when any (`not`: none) of its terms does. What a term asks of the peer is settled once the peer's class is known;
 * then only boxes are left, which ask of the packet.
 */
import {
  type Clause,
  type End,
  type PeerSet,
  PROTOCOL,
  type PortRange,
  type TrafficSet,
} from '#model/policy.ts';
import type { Span } from '#model/policy-program.ts';
import type { Endpoint } from '#model/workload.ts';

/**
 * Packets by protocol (absent: all) and two numbers: `x` is the destination port or ICMP type, `y` the source port or
 * ICMP code. Spans only where there are protocols.
 */
export type Box = { readonly protocols?: readonly number[]; readonly x?: Span; readonly y?: Span };

/** A set as classes know it; `ports`: members belong to it with a port each (service backends, named ports). */
export type SetKey = string;

export type Term =
  | { readonly box: Box }
  | {
      readonly set: SetKey;
      /** Holds for those that are not in the set. */
      readonly inverted?: true;
      /** Where a member's own port has to stand, and its protocol if not any. */
      readonly port?: 'x' | 'y';
      readonly protocol?: number;
      /** Asked of the address at the rules' own end, of which nothing is known yet: it is settled before the peer's. */
      readonly own?: true;
    };

export type TermClause = { readonly not: boolean; readonly terms: readonly Term[] };
export type BoxClause = { readonly not: boolean; readonly boxes: readonly Box[] };

/** One reason why an address is in a set; with a port where the set's members have one. */
export type Atom = {
  readonly id: number;
  readonly set: SetKey;
  readonly port?: { readonly protocol: number; readonly port: number };
};

export const EVERY_BOX: Box = {};
export const WITH_PORTS: readonly number[] = [PROTOCOL.tcp, PROTOCOL.udp, PROTOCOL.sctp, PROTOCOL.udplite];

const axisOf = (end: End): 'x' | 'y' => (end === 'source' ? 'y' : 'x');

export function portBox(end: End, protocols: readonly number[], { from, to }: PortRange): Box {
  return end === 'source' ? { protocols, y: [from, to] } : { protocols, x: [from, to] };
}

/** Key of the addresses of endpoints that have a port of this name. */
export function namedPortKey(name: string): SetKey {
  return `named-port ${name}`;
}

export function setKey(set: PeerSet): SetKey {
  return JSON.stringify(set);
}

export const CLUSTER: PeerSet = { kind: 'entity', entity: 'cluster' };
export const OWN_NODE: PeerSet = { kind: 'entity', entity: 'own-node' };

/** Of the peer's end. */
export function peerTerm(set: PeerSet, end: End): Term {
  if (set.kind === 'entity' && set.entity === 'world') return { set: setKey(CLUSTER), inverted: true };
  if (set.kind === 'service' && end === 'destination') return { set: setKey(set), port: 'x' };
  return { set: setKey(set) };
}

type TermsOf = { readonly [K in TrafficSet['kind']]: (set: Extract<TrafficSet, { kind: K }>) => Term[] };

const TERMS: TermsOf = {
  family: () => [],
  protocol: ({ protocol }) => [{ box: { protocols: [protocol] } }],
  ports: ({ end, protocol, ranges }) =>
    ranges.map((range) => ({ box: portBox(end, portProtocols(protocol), range) })),
  icmp: (set) => [{ box: icmpBox(set) }],
  'named-port': ({ name, end, protocol }) => {
    const asked = protocol === undefined ? {} : { protocol };
    return [{ set: namedPortKey(name), port: axisOf(end), ...asked }];
  },
};

/** Family is settled by the caller. */
export function trafficTerms<K extends TrafficSet['kind']>(set: Extract<TrafficSet, { kind: K }>): Term[] {
  return TERMS[set.kind](set);
}

export type NamedPortSet = Extract<TrafficSet, { kind: 'named-port' }>;

/** Of an end whose endpoints are known. */
export function knownPortTerms(
  { name, end, protocol }: NamedPortSet,
  endpoints: readonly Endpoint[],
): Term[] {
  return endpoints
    .flatMap((endpoint) => (endpoint.kind === 'network-set' ? [] : endpoint.ports))
    .filter((port) => port.name === name && portProtocols(protocol).includes(port.protocol))
    .map(({ protocol, port }) => ({ box: portBox(end, [protocol], { from: port, to: port }) }));
}

function portProtocols(protocol: number | undefined): readonly number[] {
  if (protocol === undefined) return WITH_PORTS;
  return WITH_PORTS.includes(protocol) ? [protocol] : [];
}

function icmpBox({ family, type, code }: Extract<TrafficSet, { kind: 'icmp' }>): Box {
  return {
    protocols: [family === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6],
    ...(type === undefined ? {} : { x: [type, type] as const }),
    ...(code === undefined ? {} : { y: [code, code] as const }),
  };
}

export function termClause<T>({ anyOf, not }: Clause<T>, termsOf: (set: T) => readonly Term[]): TermClause {
  return { not: not ?? false, terms: anyOf.flatMap((set) => termsOf(set)) };
}

const hasEvery = ({ terms }: TermClause): boolean =>
  terms.some((term) => 'box' in term && term.box.protocols === undefined);
const isAlways = (clause: TermClause): boolean => (clause.not ? clause.terms.length === 0 : hasEvery(clause));
const isNever = (clause: TermClause): boolean => (clause.not ? hasEvery(clause) : clause.terms.length === 0);

/** Without clauses that always hold; undefined where one never does. */
export function openClauses(clauses: readonly TermClause[]): TermClause[] | undefined {
  const open = clauses.filter((clause) => !isAlways(clause));
  return open.some(isNever) ? undefined : open;
}

/** What is left to ask of packets when the peer is of this class; undefined when no packet can match. */
export function settle(clauses: readonly TermClause[], atoms: readonly Atom[]): BoxClause[] | undefined {
  const left: BoxClause[] = [];
  for (const { not, terms } of clauses) {
    const boxes = terms.flatMap((term) => boxesOf(term, atoms));
    const everything = boxes.some((box) => box.protocols === undefined);
    if (everything ? not : boxes.length === 0 && !not) return undefined;
    if (!everything && boxes.length > 0) left.push({ not, boxes });
  }
  return left;
}

/** What is left to ask of packets by a term once all that an address is in is known. */
export function boxesOf(term: Term, atoms: readonly Atom[]): Box[] {
  if ('box' in term) return term.box.protocols?.length === 0 ? [] : [term.box];
  const members = atoms.filter(({ set }) => set === term.set);
  if (term.port === undefined) return members.length > 0 === (term.inverted === true) ? [] : [EVERY_BOX];
  const end = term.port === 'x' ? 'destination' : 'source';
  return members.flatMap(({ port }) => {
    if (port === undefined || (term.protocol ?? port.protocol) !== port.protocol) return [];
    return [portBox(end, [port.protocol], { from: port.port, to: port.port })];
  });
}
