/** What Calico's manifests are made of beside what all have in common: selectors, nets, ports and protocols. */
import { z } from 'zod';
import { type PortRange, PROTOCOL, type Selector } from '#model/policy.ts';
import { parseAddress } from '#net/address.ts';
import { hostPrefix, type Prefix } from '#net/prefix.ts';
import { HAS_NAMESPACE, negate, type Place, placeSelector } from './calico-labels.ts';
import { isGlobal, isSelectorProblem, parseSelector } from '#model/selector-text.ts';
import { cidr } from '#model/manifest-shapes.ts';

/** A selector where such a one stands; without text, undefined: nothing was said. */
export function selectorOf(place: Place) {
  return z.string('must be a selector as text').transform((text, context): Selector | undefined => {
    if (text === '') return undefined;
    const found = parseSelector(text);
    if (!isSelectorProblem(found)) return placeSelector(found, place);
    context.addIssue({ code: 'custom', message: `column ${found.column}: ${found.message}` });
    return z.NEVER;
  });
}

const namespaces = selectorOf('namespace');

/** Of the peers of a rule, which may be those outside of all namespaces. */
export const peerNamespaces = z.string('must be a selector as text').transform((text, context) => {
  if (isGlobal(text)) return negate(HAS_NAMESPACE);
  const read = namespaces.safeParse(text);
  if (read.success) return read.data;
  context.addIssue({ code: 'custom', message: read.error.issues[0]?.message ?? '' });
  return z.NEVER;
});

/** A prefix, or an address as the prefix of it alone. */
export const net = z.string('must be a CIDR such as 10.0.0.0/8').transform((text, context): Prefix => {
  const single = parseAddress(text);
  if (single !== undefined) return hostPrefix(single);
  const read = cidr.safeParse(text);
  if (read.success) return read.data;
  context.addIssue({ code: 'custom', message: read.error.issues[0]?.message ?? '' });
  return z.NEVER;
});

const PROTOCOLS: ReadonlyMap<string, number> = new Map([
  ['TCP', PROTOCOL.tcp],
  ['UDP', PROTOCOL.udp],
  ['ICMP', PROTOCOL.icmp],
  ['ICMPv6', PROTOCOL.icmpv6],
  ['SCTP', PROTOCOL.sctp],
  ['UDPLite', PROTOCOL.udplite],
]);

/** The number of a protocol by its name or number; undefined: there is none such. */
export function readProtocol(value: unknown): number | undefined {
  if (typeof value === 'string') return PROTOCOLS.get(value) ?? readNumber(value, 1, 255);
  return typeof value === 'number' ? readNumber(`${value}`, 1, 255) : undefined;
}

/** Digits, or undefined. */
function readNumber(text: string, min: number, max: number): number | undefined {
  const number = /^\d{1,5}$/.test(text) ? Number(text) : -1;
  return min <= number && number <= max ? number : undefined;
}

export const protocol = z.unknown().transform((value, context): number => {
  const number = readProtocol(value);
  if (number !== undefined) return number;
  const names = [...PROTOCOLS.keys()].join(', ');
  context.addIssue({ code: 'custom', message: `must be ${names} or a number from 1 to 255${shown(value)}` });
  return z.NEVER;
});

/** Those of which policies can ask for ports, as the API has it. */
export const WITH_PORTS: ReadonlySet<number> = new Set([PROTOCOL.tcp, PROTOCOL.udp, PROTOCOL.sctp]);

export type Port = { readonly range: PortRange } | { readonly name: string };

/** A number, `from:to`, or a name. */
export const port = z.unknown().transform((value, context): Port => {
  const found = readPort(value);
  if (typeof found !== 'string') return found;
  context.addIssue({ code: 'custom', message: `${found}${shown(value)}` });
  return z.NEVER;
});

/** The port, or what is wrong with it. */
function readPort(value: unknown): Port | string {
  const text = typeof value === 'number' ? `${value}` : value;
  if (typeof text !== 'string') return NO_PORT;
  const [, first, last] = /^(\d+)(?::(\d+))?$/.exec(text) ?? [];
  if (first !== undefined) return readRange(first, last ?? first);
  return value === text && PORT_NAME.test(text) ? { name: text } : NO_PORT;
}

function readRange(first: string, last: string): Port | string {
  const [from, to] = [readNumber(first, 1, 65_535), readNumber(last, 1, 65_535)];
  if (from === undefined || to === undefined) return NO_PORT;
  return from <= to ? { range: { from, to } } : 'must not end before it begins';
}

const NO_PORT = 'must be a number from 1 to 65535, a range such as "8000:8080", or the name of a port';
const PORT_NAME = /^[A-Za-z0-9_.-]{1,128}$/;

export const portName = z.string().regex(PORT_NAME, 'must be a port name: 1–128 of A–Z a–z 0–9 _ . -');

function shown(value: unknown): string {
  const isShort = typeof value === 'string' || typeof value === 'number';
  return isShort ? `, not ${JSON.stringify(value).slice(0, 80)}` : '';
}
