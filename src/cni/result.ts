/**
 * The result of ADD in the shape of CNI 1.1.0 (CNI spec, "Success"), and the shapes that older versions give it:
 *
 *   1.1.0  1.0.0   the same; only the version differs
 *   0.4.0 – 0.3.0  each address says its version; interfaces without mtu, socketPath, pciID
 *   0.2.0  0.1.0   one address per family (ip4, ip6) with that family's routes; no interfaces
 */
import { z } from 'zod';
import type { CniResult } from '#model/cni-result.ts';
import { addressFamily, type Family } from '#net/address.ts';
import { prefixFamily } from '#net/prefix.ts';
import { Fault } from '#model/fault.ts';
import {
  addressText,
  count,
  interfaceAddressText,
  isObject,
  type JsonObject,
  listOf,
  loosePrefixText,
  optional,
  problemsOf,
} from './json.ts';
import { atLeast, type CniVersion, isSupported } from './version.ts';

const list = <T extends z.ZodType>(item: T) => z.preprocess((value) => value ?? [], listOf(item));
const strings = optional(listOf(z.string()));

const dnsShape = z.object({
  nameservers: strings,
  domain: optional(z.string()),
  search: strings,
  options: strings,
});
const dns = z.preprocess((value) => value ?? {}, dnsShape);
export { dns as dnsSchema };

const routeSchema = z.object({
  dst: loosePrefixText,
  gw: optional(addressText),
  mtu: optional(count),
  advmss: optional(count),
  priority: optional(count),
  table: optional(count),
  scope: optional(count),
});
export { routeSchema };

const resultSchema = z.object({
  interfaces: list(
    z.object({
      name: z.string(),
      mac: optional(z.string()),
      mtu: optional(count),
      sandbox: optional(z.string()),
      socketPath: optional(z.string()),
      pciID: optional(z.string()),
    }),
  ),
  ips: list(
    z.object({
      address: interfaceAddressText,
      gateway: optional(addressText),
      interface: optional(count),
    }),
  ),
  routes: list(routeSchema),
  dns,
});

const oneFamily = z.object({
  ip: interfaceAddressText,
  gateway: optional(addressText),
  routes: list(z.object({ dst: loosePrefixText, gw: optional(addressText) })),
});
const oldResultSchema = z.object({ ip4: optional(oneFamily), ip6: optional(oneFamily), dns });

/**
 * A result as JSON of any supported version: its own cniVersion, or `version` when it has none. Throws Fault
 * `cni-config` (`cni-version` for an unknown version) with all problems, paths below `root`.
 */
export function decodeResult(json: unknown, version: CniVersion, root = 'prevResult'): CniResult {
  const own = isObject(json) ? json['cniVersion'] : undefined;
  const from = own === undefined || own === '' ? version : own;
  if (typeof from !== 'string' || !isSupported(from)) {
    throw new Fault('cni-version', 'the result is of an unsupported version', {
      problems: [{ path: `${root}.cniVersion`, message: `${JSON.stringify(from)} is not supported` }],
    });
  }
  return atLeast(from, '0.3.0') ? decodeNew(json, root) : decodeOld(json, root);
}

function invalid(root: string, problems: Fault['problems']): Fault {
  return new Fault('cni-config', `${root} is not a valid result`, { problems });
}

function decodeNew(json: unknown, root: string): CniResult {
  const parsed = resultSchema.safeParse(json);
  if (!parsed.success) throw invalid(root, problemsOf(parsed.error, root));
  const outside = parsed.data.ips.flatMap(({ interface: index }, at) =>
    index === undefined || index < parsed.data.interfaces.length
      ? []
      : [{ path: `${root}.ips[${at}].interface`, message: `${index} is no index into interfaces` }],
  );
  if (outside.length > 0) throw invalid(root, outside);
  return parsed.data;
}

function decodeOld(json: unknown, root: string): CniResult {
  const parsed = oldResultSchema.safeParse(json);
  if (!parsed.success) throw invalid(root, problemsOf(parsed.error, root));
  const present = [parsed.data.ip4, parsed.data.ip6].filter((part) => part !== undefined);
  return {
    interfaces: [],
    ips: present.map((part) => ({ address: part.ip, gateway: part.gateway })),
    routes: present.flatMap((part) => part.routes),
    dns: parsed.data.dns,
  };
}

/** The result as standard output shows it for this version. Throws Fault `cni-config` where the version cannot say it. */
export function encodeResult(result: CniResult, version: CniVersion): string {
  return JSON.stringify(resultJson(result, version));
}

/** The same as a value, for a prevResult. */
export function resultJson(result: CniResult, version: CniVersion): JsonObject {
  if (atLeast(version, '1.0.0')) return { cniVersion: version, ...omitEmpty(result), dns: result.dns };
  if (atLeast(version, '0.3.0')) return middleJson(result, version);
  return oldJson(result, version);
}

/** Empty lists are left out, as the reference's `omitempty` does. */
function omitEmpty(lists: Readonly<Record<string, unknown>>): JsonObject {
  return Object.fromEntries(
    Object.entries(lists).filter(([, value]) => Array.isArray(value) && value.length > 0),
  );
}

function middleJson(result: CniResult, version: CniVersion): JsonObject {
  const interfaces = result.interfaces.map(({ name, mac, sandbox }) => ({ name, mac, sandbox }));
  const ips = result.ips.map((ip) => ({ version: String(prefixFamily(ip.address)), ...ip }));
  return { cniVersion: version, ...omitEmpty({ interfaces, ips }), routes: result.routes, dns: result.dns };
}

function oldJson(result: CniResult, version: CniVersion): JsonObject {
  const part = (family: Family): JsonObject | undefined => {
    const ip = result.ips.find(({ address }) => prefixFamily(address) === family);
    if (ip === undefined) return undefined;
    const routes = result.routes
      .filter(
        ({ dst, gw }) => prefixFamily(dst) === family && (gw === undefined || addressFamily(gw) === family),
      )
      .map(({ dst, gw }) => ({ dst, gw }));
    return { ip: ip.address, gateway: ip.gateway, routes };
  };
  const ip4 = part(4);
  const ip6 = part(6);
  if (ip4 === undefined && ip6 === undefined) {
    throw new Fault('cni-config', `a result without addresses cannot be told in version ${version}`);
  }
  return { cniVersion: version, ip4, ip6, dns: result.dns };
}
