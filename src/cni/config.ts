/**
 * The network configuration on standard input (CNI spec 1.1.0, "Section 1" and "Section 2"): which keys we know, what they must
 * look like, and what they mean together with CNI_ARGS. Keys that we do not know are carried through untouched; a key
 * that we know and cannot honour is refused.
 */
import { z } from 'zod';
import type { Bandwidth, PodRoute, PortMapping } from '#model/attachment.ts';
import type { CniDns } from '#model/cni-result.ts';
import type { Labels } from '#model/workload.ts';
import type { Address } from '#net/address.ts';
import { parseAddress } from '#net/address.ts';
import { isUnicastMac, type Mac, parseMac } from '#net/mac.ts';
import { type PerFamily, perFamily } from '#net/per-family.ts';
import { parseInterfaceAddress, prefixAddress } from '#net/prefix.ts';
import { bandwidthSchema, portMappingSchema } from './capabilities.ts';
import type { CniArgs } from './environment.ts';
import type { Findings } from './findings.ts';
import { isObject, type JsonObject, LIST_LIMIT, listOf, optional, problemsOf, textOf } from './json.ts';
import { type RangeSet, rangeSetsSchema } from './ranges.ts';
import { dnsSchema, routeSchema } from './result.ts';

/** Where addresses come from: our own pools (narrowed by ranges if there are any), or another plugin. */
export type Ipam = OwnIpam | { readonly type: 'delegate'; readonly plugin: string };
export type OwnIpam = {
  readonly type: 'own';
  readonly ranges: readonly RangeSet[];
  readonly routes: readonly PodRoute[];
  /** Names or prefixes of pools, as Calico's plugin has them (`ipv4_pools`, `ipv6_pools`). */
  readonly pools: PerFamily<readonly string[]>;
};

/** What an attachment shall be like, from every place that may say so: runtimeConfig before args.cni before CNI_ARGS. */
export type Wish = {
  readonly ipam: Ipam;
  readonly addresses: readonly Address[];
  readonly mac?: Mac;
  readonly mtu?: number;
  readonly portMappings: readonly PortMapping[];
  readonly bandwidth?: Bandwidth;
  readonly dns: CniDns;
  readonly aliases: readonly string[];
  /** Of the pod, for policies: what runtimes without Kubernetes have to say about it. */
  readonly labels: Labels;
  readonly wiring?: 'routed' | 'bridge';
  readonly ipMasq?: boolean;
  readonly hairpinMode?: boolean;
  readonly promiscMode?: boolean;
};

const wantedAddress = textOf('an IP address, with or without prefix length', (text) => {
  const withLength = parseInterfaceAddress(text);
  return withLength === undefined ? parseAddress(text) : prefixAddress(withLength);
});
const wantedMac = textOf('a unicast MAC address', (text) => {
  const mac = parseMac(text);
  return mac !== undefined && isUnicastMac(mac) ? mac : undefined;
});
const strings = optional(listOf(z.string()));
/** A list of names (CNI CONVENTIONS.md); podman gives a map of them by network, as its dnsname plugin reads it. */
const aliases = z.preprocess((value) => (isObject(value) ? Object.values(value).flat() : value), strings);
/** CNI CONVENTIONS.md: a list of pairs. */
const labels = listOf(z.object({ key: z.string().min(1).max(317), value: z.string().max(63) }));
const pluginName = textOf('the file name of a plugin', (text) =>
  /^[^/\0]{1,255}$/.test(text) ? text : undefined,
);

const ipamSchema = z.object({
  type: optional(pluginName),
  ranges: optional(z.array(z.unknown())),
  routes: optional(z.array(z.unknown())),
});

/**
 * containerd (go-cni) writes its structures without JSON tags: `HostPort`, `Servers`, `IngressRate`. Go readers do not
 * mind the case of keys, so every other plugin understands them.
 */
function lowerInitials(value: unknown): unknown {
  if (Array.isArray(value)) return value.length > LIST_LIMIT ? value : value.map(lowerInitials);
  if (!isObject(value)) return value;
  const lowered = Object.entries(value).map(([key, inner]) => [
    key.charAt(0).toLowerCase() + key.slice(1),
    lowerInitials(inner),
  ]);
  return Object.fromEntries(lowered);
}

/** Each is work in the kernel, for both families: a thousand take a third of a second. */
const PORTS_LIMIT = 1024;

const runtimeSchema = z.object({
  portMappings: optional(listOf(portMappingSchema, PORTS_LIMIT)),
  bandwidth: optional(bandwidthSchema),
  ipRanges: optional(rangeSetsSchema),
  ips: optional(listOf(wantedAddress)),
  mac: optional(wantedMac),
  dns: optional(z.object({ servers: strings, searches: strings, options: strings })),
  aliases,
});

const wishSchema = z.object({
  mtu: optional(z.number().int().min(0).max(65_535)),
  ipMasq: optional(z.boolean()),
  hairpinMode: optional(z.boolean()),
  promiscMode: optional(z.boolean()),
  dns: dnsSchema,
  ipam: optional(ipamSchema),
  bandwidth: optional(bandwidthSchema),
  runtimeConfig: z.preprocess(lowerInitials, optional(runtimeSchema)),
  args: optional(
    z.object({
      cni: optional(
        z.object({
          ips: optional(listOf(wantedAddress)),
          mac: optional(wantedMac),
          labels: optional(labels),
        }),
      ),
    }),
  ),
  tartan: optional(z.strictObject({ wiring: optional(z.enum(['routed', 'bridge'])) })),
});
type Parsed = z.infer<typeof wishSchema>;
const poolNames = optional(listOf(z.string()));
const ownIpamSchema = z.object({
  ranges: optional(rangeSetsSchema),
  routes: optional(listOf(routeSchema)),
  ipv4_pools: poolNames,
  ipv6_pools: poolNames,
});
const argsSchema = z.object({ ips: listOf(wantedAddress), mac: optional(wantedMac) });

/** Keys of other plugins that change what the network is: to overlook them would be to do something else. */
const REFUSED = ['vlan', 'vlanTrunk', 'portIsolation', 'disableContainerInterface'];
const REFUSED_RUNTIME = ['infinibandGUID', 'deviceID'];

/** The names under which `ipam.type` means ourselves. */
const OWN_IPAM: ReadonlySet<string> = new Set(['tartan', 'tartan-cni']);

export function ipamPlugin(config: JsonObject): string | undefined {
  const ipam = config['ipam'];
  const type = isObject(ipam) ? ipam['type'] : undefined;
  return typeof type === 'string' && type !== '' && !OWN_IPAM.has(type) ? type : undefined;
}

export function readWish(config: JsonObject, args: CniArgs, findings: Findings): Wish | undefined {
  refuse(config, REFUSED, '', findings);
  const runtimeConfig = config['runtimeConfig'];
  if (isObject(runtimeConfig)) refuse(runtimeConfig, REFUSED_RUNTIME, 'runtimeConfig.', findings);
  const parsed = wishSchema.safeParse(config);
  const parsedArgs = argsSchema.safeParse(args);
  if (!parsed.success) findings.addAll('cni-config', problemsOf(parsed.error));
  if (!parsedArgs.success) findings.addAll('cni-environment', problemsOf(parsedArgs.error, 'CNI_ARGS'));
  const ipam = readIpam(config, findings);
  if (!parsed.success || !parsedArgs.success || ipam === undefined) return undefined;
  return merge(parsed.data, parsedArgs.data, ipam);
}

function refuse(object: JsonObject, keys: readonly string[], root: string, findings: Findings): void {
  for (const key of keys) {
    const value = object[key];
    if (value === undefined || value === null || value === '' || value === 0 || value === false) continue;
    findings.add('cni-field', `${root}${key}`, `${shown(value)} is not supported`);
  }
}

const shown = (value: unknown): string =>
  typeof value === 'object' ? 'this value' : JSON.stringify(value).slice(0, 80);

/** Our own keys of `ipam` are looked at only when the addresses are ours: a delegate's are its own business. */
function readIpam(config: JsonObject, findings: Findings): Ipam | undefined {
  const plugin = ipamPlugin(config);
  if (plugin !== undefined) return { type: 'delegate', plugin };
  const ipam = config['ipam'] ?? {};
  if (!isObject(ipam)) return undefined;
  const parsed = ownIpamSchema.safeParse(ipam);
  if (!parsed.success) {
    findings.addAll('cni-config', problemsOf(parsed.error, 'ipam'));
    return undefined;
  }
  const routes = (parsed.data.routes ?? []).map(({ dst, gw, mtu, advmss, priority, table }): PodRoute => {
    const numbers = { mtu, advmss, priority, table };
    return { prefix: dst, ...(gw === undefined ? {} : { via: gw }), ...defined(numbers) };
  });
  const { ranges = [], ipv4_pools, ipv6_pools } = parsed.data;
  const named = { 4: ipv4_pools, 6: ipv6_pools };
  const pools = perFamily((family) => ((named[family] ?? []).length === 0 ? undefined : named[family]));
  return { type: 'own', ranges, routes, pools };
}

/** The properties that are there: absent and undefined differ under exactOptionalPropertyTypes. */
function defined<T extends object>(object: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(object).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> };
}

function merge(parsed: Parsed, args: z.infer<typeof argsSchema>, ipam: Ipam): Wish {
  const runtime = parsed.runtimeConfig ?? {};
  const cni = parsed.args?.cni ?? {};
  const choice = defined({
    mac: runtime.mac ?? cni.mac ?? args.mac,
    mtu: parsed.mtu === 0 ? undefined : parsed.mtu,
    wiring: parsed.tartan?.wiring,
    ipMasq: parsed.ipMasq,
    hairpinMode: parsed.hairpinMode,
    promiscMode: parsed.promiscMode,
    bandwidth: parsed.bandwidth ?? runtime.bandwidth,
  });
  return {
    ...choice,
    ipam: withRanges(ipam, runtime.ipRanges),
    addresses: firstNonEmpty(runtime.ips, cni.ips, args.ips),
    portMappings: firstNonEmpty(runtime.portMappings),
    dns: mergeDns(parsed.dns, runtime.dns),
    aliases: firstNonEmpty(runtime.aliases),
    labels: Object.fromEntries((cni.labels ?? []).map(({ key, value }) => [key, value])),
  };
}

function firstNonEmpty<T>(...lists: readonly (readonly T[] | undefined)[]): readonly T[] {
  return lists.find((list) => list !== undefined && list.length > 0) ?? [];
}

/** Ranges of the runtime come before those of the configuration (host-local). */
function withRanges(ipam: Ipam, ranges: readonly RangeSet[] = []): Ipam {
  return ipam.type === 'own' ? { ...ipam, ranges: [...ranges, ...ipam.ranges] } : ipam;
}

type RuntimeDns = NonNullable<NonNullable<Parsed['runtimeConfig']>['dns']>;

function mergeDns(config: CniDns, runtime: RuntimeDns = {}): CniDns {
  const { servers, searches, options } = runtime;
  return { ...config, ...defined({ nameservers: servers, search: searches, options }) };
}
