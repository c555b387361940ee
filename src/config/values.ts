/** The kinds of value that settings are made of: how each is checked, and the words docs/settings.md has for it. */
import { z } from 'zod';
import { PROTOCOL } from '#model/policy.ts';
import type { Failsafe } from '#model/workload.ts';
import { type Address, addressFamily, type Family, parseAddress } from '#net/address.ts';
import { parsePrefix, type Prefix, prefixFamily } from '#net/prefix.ts';

/** Says what kind of value it is (for the docs) and what it does. */
export function setting<T extends z.ZodType>(schema: T, type: string, description: string): T {
  return schema.meta({ type, description });
}

/** Text that `parse` understands, as what it makes of it; `message` says what was wanted. */
export function parsed<T>(parse: (text: string) => T | undefined, message: string) {
  return z.string().transform((text, context): T => {
    const value = parse(text);
    if (value !== undefined) return value;
    context.addIssue({ code: 'custom', message: `${message}, not ${JSON.stringify(text)}` });
    return z.NEVER;
  });
}

export const prefixText = parsed(parsePrefix, 'must be a prefix with no host bits set');
export const addressText = parsed(parseAddress, 'must be an IP address');

export function prefixOfFamily(family: Family) {
  const parse = (text: string): Prefix | undefined => {
    const prefix = parsePrefix(text);
    return prefix !== undefined && prefixFamily(prefix) === family ? prefix : undefined;
  };
  return parsed(parse, `must be an IPv${family} prefix with no host bits set`);
}

export function addressOfFamily(family: Family) {
  const parse = (text: string): Address | undefined => {
    const address = parseAddress(text);
    return address !== undefined && addressFamily(address) === family ? address : undefined;
  };
  return parsed(parse, `must be an IPv${family} address`);
}

/** A subnet, or the first address of one. */
export function boundOfFamily(family: Family) {
  const parse = (text: string): Address | Prefix | undefined => {
    const value = text.includes('/') ? parsePrefix(text) : parseAddress(text);
    return value !== undefined && value.includes(':') === (family === 6) ? value : undefined;
  };
  return parsed(parse, `must be an IPv${family} address or prefix`);
}

/** No parent steps: what is removed at uninstall must be what was meant. */
export const absolutePath = z
  .string()
  .regex(/^\/[^\0]*$/, 'must be an absolute path')
  .refine((path) => !path.split('/').includes('..'), 'must not contain ..');

/** Kernel: dev_valid_name, at most 15 bytes, no slash, colon or white space; quotes would not survive nft. */
export const linkName = z
  .string()
  .regex(/^(?!\.{1,2}$)[A-Za-z0-9._@-]{1,15}$/, 'must be a link name: 1–15 of A–Z a–z 0–9 . _ @ -');

/** A Kubernetes node name (RFC 1123 subdomain), which every object name here can hold. */
export const nodeName = z
  .string()
  .max(253, 'must have at most 253 characters')
  .regex(
    /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/,
    'must be lower-case letters, digits, - and ., beginning and ending with a letter or digit',
  );

/** CNI specification 1.1.0: a network's name. */
export const networkName = z
  .string()
  .max(128, 'must have at most 128 characters')
  .regex(/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/, 'must begin with a letter or digit, then also . _ -');

export const regexText = z.string().superRefine((source, context) => {
  try {
    RegExp(source);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    context.addIssue({ code: 'custom', message: reason });
  }
});

/** A whole number between bounds, both inclusive. */
export function whole(min: number, max: number) {
  const message = `must be a whole number from ${min} to ${max}`;
  return z.number(message).int(message).min(min, message).max(max, message);
}

export const mtuBytes = whole(576, 65_535);

/** `auto` (absent in the settings) or bytes. */
export const autoMtu = z
  .union([z.literal('auto'), mtuBytes], { error: 'must be auto or a whole number from 576 to 65535' })
  .transform((mtu) => (mtu === 'auto' ? undefined : mtu));

/** `host:port`; IPv6 hosts in brackets. */
export const hostPort = z
  .string()
  .regex(/^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]*):\d{1,5}$/, 'must be host:port, an IPv6 host in brackets')
  .refine((text) => {
    const port = Number(text.slice(text.lastIndexOf(':') + 1));
    return port >= 1 && port <= 65_535;
  }, 'must have a port from 1 to 65535');

const FAILSAFE_PROTOCOLS: Readonly<Record<string, number>> = {
  tcp: PROTOCOL.tcp,
  udp: PROTOCOL.udp,
  sctp: PROTOCOL.sctp,
};

/** `tcp:22`, `udp:10.0.0.0/8:53`; IPv6 prefixes as they are: the port stands after the last colon. */
export const failsafePort = parsed((text): Failsafe | undefined => {
  const [, name = '', middle, digits = ''] = /^([a-z]+):(?:(.+):)?(\d{1,5})$/.exec(text) ?? [];
  const protocol = FAILSAFE_PROTOCOLS[name];
  const port = Number(digits);
  const prefix = middle === undefined ? undefined : parsePrefix(middle);
  const isWrong = protocol === undefined || port > 65_535 || (middle !== undefined && prefix === undefined);
  if (isWrong) return undefined;
  return { protocol, ports: { from: port, to: port }, ...(prefix === undefined ? {} : { prefix }) };
}, 'must be protocol:port or protocol:prefix:port, the protocol tcp, udp or sctp');
