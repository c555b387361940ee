/**
 * A Calico cluster as one of ours, out of an export of its objects: allocations become blocks, what sets roads becomes settings,
 * and policies, pools and peers stay what they are, as they are read. Everything else is named, with the reason.
 */
import type { Block } from '#model/block.ts';
import type { Problem } from '#model/fault.ts';
import { type Fields, isFields } from '#model/manifest-shapes.ts';
import type { Reservation } from '#model/provider.ts';
import { addressBits, addressValue, FAMILIES, type Family } from '#net/address.ts';
import {
  contains,
  lastAddress,
  parsePrefix,
  type Prefix,
  prefixAddress,
  prefixFamily,
  prefixOf,
} from '#net/prefix.ts';
import { type BlocksOptions, planBlocks } from './calico-blocks.ts';

export type CalicoObject = { readonly name: string; readonly origin: string; readonly value: Fields };

export type CalicoPlan = {
  /** Values by path, on top of the profile calico. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly blocks: readonly Block[];
  /** Stay as they are. */
  readonly objects: readonly CalicoObject[];
  readonly pods: ReadonlyMap<string, readonly Reservation[]>;
  readonly problems: readonly Problem[];
  readonly notes: readonly Problem[];
};

/** Read by Tartan under Calico's own names. */
const KEPT: ReadonlySet<string> = new Set([
  'IPPool',
  'IPReservation',
  'IPAMConfiguration',
  'NetworkPolicy',
  'GlobalNetworkPolicy',
  'StagedNetworkPolicy',
  'StagedGlobalNetworkPolicy',
  'StagedKubernetesNetworkPolicy',
  'Tier',
  'NetworkSet',
  'GlobalNetworkSet',
  'HostEndpoint',
  'Profile',
  'BGPConfiguration',
  'BGPPeer',
  'BGPFilter',
]);
/** What they say stands in blocks. */
const INSIDE: ReadonlySet<string> = new Set(['IPAMBlock', 'BlockAffinity', 'IPAMHandle']);

const REASONS: Readonly<Record<string, string>> = {
  ClusterInformation: 'is Calico’s own',
  KubeControllersConfiguration: 'is of Calico’s controllers: see controller in the settings',
  CalicoNodeStatus: 'is a question to Calico’s nodes: tartan status and tartan routes answer it',
  DatastoreMigration: 'is Calico’s own',
  WorkloadEndpoint: 'is made again from the pod',
  Node: 'of Calico’s is not read: nodes tell of themselves; its AS number and cluster id are annotations of v1 Node here',
};

export function planCalico(given: readonly CalicoObject[], options: BlocksOptions): CalicoPlan {
  const all = given.flatMap(expand);
  const calicos = all.filter(isCalicos);
  const others = all.filter((object) => !isCalicos(object));
  const of = (kind: string): CalicoObject[] => calicos.filter(({ value }) => value['kind'] === kind);
  const blocks = planBlocks(
    of('IPAMBlock').map(({ origin, value }) => ({ origin, spec: specOf(value) })),
    options,
  );
  const pools = of('IPPool').map(({ value }) => specOf(value));
  const notes = [...blocks.notes, ...felixNotes(of('FelixConfiguration')), ...calicos.flatMap(notTaken)];
  const problems = [...blocks.problems, ...outside(blocks.blocks, pools)];
  return {
    settings: { ...rangesOf(pools), ...roadOf(pools, of('FelixConfiguration')), ...ipamOf(of('IPAMConfig')) },
    blocks: blocks.blocks,
    objects: [...calicos.filter(({ value }) => KEPT.has(String(value['kind']))), ...others],
    pods: blocks.pods,
    problems,
    notes: [...notes, ...masqueradeNotes(pools)],
  };
}

/** calicoctl prints several objects as a list of their kind. */
function expand(object: CalicoObject): CalicoObject[] {
  const { apiVersion, kind, items } = object.value;
  if (!Array.isArray(items) || typeof kind !== 'string' || !kind.endsWith('List')) return [object];
  return (items as unknown[]).filter(isFields).map((item) => {
    const value = { apiVersion, kind: kind.slice(0, -'List'.length), ...item };
    const { name, namespace } = isFields(item['metadata']) ? item['metadata'] : {};
    const place = typeof namespace === 'string' ? `${namespace}/` : '';
    return {
      name: `${String(value.apiVersion)}/${value.kind}/${place}${String(name)}`,
      origin: object.origin,
      value,
    };
  });
}

function isCalicos({ value }: CalicoObject): boolean {
  return /^(?:crd\.)?projectcalico\.org\//.test(String(value['apiVersion']));
}

function specOf({ spec }: Fields): Fields {
  return isFields(spec) ? spec : {};
}

function notTaken({ name, value }: CalicoObject): Problem[] {
  const kind = String(value['kind']);
  if (KEPT.has(kind) || INSIDE.has(kind) || kind === 'FelixConfiguration' || kind === 'IPAMConfig') return [];
  return [
    {
      path: name,
      message: Object.hasOwn(REASONS, kind) ? (REASONS[kind] ?? '') : 'is of a kind that is not known',
    },
  ];
}

/** Fields that have become settings; the rest is told of one by one. */
const FELIX: ReadonlySet<string> = new Set([
  'vxlanPort',
  'vxlanVNI',
  'vxlanEnabled',
  'ipipEnabled',
  'wireguardEnabled',
]);

function felixNotes(objects: readonly CalicoObject[]): Problem[] {
  return objects.flatMap(({ name, value }) => {
    const fields = Object.entries(specOf(value));
    const whole = name.endsWith('/default');
    return fields
      .filter(([field]) => !whole || !FELIX.has(field))
      .map(([field, set]) => ({
        path: `${name} spec.${field}`,
        message: `${JSON.stringify(set)} is not taken over: docs/settings.md has what nodes can be told`,
      }));
  });
}

function poolPrefixes(pools: readonly Fields[], family: Family): Prefix[] {
  const all = pools.map(({ cidr }) => parsePrefix(String(cidr))).filter((found) => found !== undefined);
  return all.filter((each) => prefixFamily(each) === family);
}

/** The smallest prefix that holds all pools: what is in it is masqueraded for nobody. */
function rangesOf(pools: readonly Fields[]): Record<string, unknown> {
  const ranges = FAMILIES.flatMap((family): [string, unknown][] => {
    const prefixes = poolPrefixes(pools, family);
    if (prefixes.length > 0) return [[`network.ipv${family}.range`, around(prefixes, family)]];
    return family === 4 ? [['network.ipv4', null]] : [];
  });
  return Object.fromEntries(pools.length === 0 ? [] : ranges);
}

function around(prefixes: readonly Prefix[], family: Family): Prefix {
  const values = prefixes.flatMap((each) => [
    addressValue(prefixAddress(each)),
    addressValue(lastAddress(each)),
  ]);
  const differing = values.reduce((bits, value) => bits | (value ^ (values[0] ?? 0n)), 0n);
  const length = addressBits(family) - (differing === 0n ? 0 : differing.toString(2).length);
  return prefixOf(prefixAddress(prefixes[0] as Prefix), length);
}

const ENCAPSULATES: ReadonlySet<unknown> = new Set(['Always', 'CrossSubnet']);

/** Which pool is encapsulated when, pools say themselves. */
function roadOf(pools: readonly Fields[], felix: readonly CalicoObject[]): Record<string, unknown> {
  const {
    vxlanPort = 4789,
    vxlanVNI = 4096,
    wireguardEnabled,
  } = Object.assign(
    {},
    ...felix.filter(({ name }) => name.endsWith('/default')).map(({ value }) => specOf(value)),
  ) as Fields;
  if (wireguardEnabled === true) return { 'road.type': 'wireguard' };
  const modes = (field: string): unknown[] =>
    pools.map((pool) => pool[field]).filter((mode) => ENCAPSULATES.has(mode));
  const [vxlan] = modes('vxlanMode');
  if (vxlan !== undefined)
    return {
      'road.type': 'vxlan',
      'road.mode': vxlan,
      'road.vxlan.vni': vxlanVNI,
      'road.vxlan.port': vxlanPort,
    };
  const [ipip] = modes('ipipMode');
  return ipip === undefined
    ? { 'road.type': 'bgp', 'road.mode': 'Never' }
    : { 'road.type': 'bgp-ipip', 'road.mode': ipip };
}

/** As it lies in Kubernetes; under its other name, IPAMConfiguration, it is read as it is. */
function ipamOf(objects: readonly CalicoObject[]): Record<string, unknown> {
  const { strictAffinity, maxBlocksPerHost } = specOf(objects[0]?.value ?? {});
  return {
    ...(strictAffinity === true ? { 'addresses.blocks.strictAffinity': true } : {}),
    ...(typeof maxBlocksPerHost === 'number' && maxBlocksPerHost > 0
      ? { 'addresses.blocks.maxPerNode': maxBlocksPerHost }
      : {}),
  };
}

function masqueradeNotes(pools: readonly Fields[]): Problem[] {
  const plain = pools.filter(({ natOutgoing }) => natOutgoing !== true);
  return plain.map(({ cidr }) => ({
    path: `IPPool ${String(cidr)} spec.natOutgoing`,
    message:
      'is not set, and masquerading is for all pods of a node: set masquerade.enabled, or masquerade.exclude',
  }));
}

/** A block of a pool that is gone: nobody would find it. */
function outside(blocks: readonly Block[], pools: readonly Fields[]): Problem[] {
  const prefixes = FAMILIES.flatMap((family) => poolPrefixes(pools, family));
  return blocks
    .filter(({ prefix }) => !prefixes.some((pool) => contains(pool, prefix)))
    .map(({ prefix }) => ({
      path: `IPAMBlock ${prefix}`,
      message: 'is in no IPPool of the export: export pools too',
    }));
}

/**
 * Objects out of Calico's own layout of etcd (libcalico-go/lib/backend/model): resources as they are, blocks as the spec of an
 * IPAMBlock. Affinities, handles and what agents tell of themselves say nothing more.
 */
export function objectsOfKeys(entries: readonly { readonly key: string; readonly value: string }[]): {
  readonly objects: readonly CalicoObject[];
  readonly problems: readonly Problem[];
} {
  const objects: CalicoObject[] = [];
  const problems: Problem[] = [];
  for (const { key, value } of entries) {
    const found = objectOfKey(key, value);
    if (typeof found === 'string') problems.push({ path: key, message: found });
    else if (found !== undefined) objects.push(found);
  }
  return { objects, problems };
}

const RESOURCE = /^\/calico\/resources\/v3\/projectcalico\.org\/[^/]+\/(.+)$/;
const BLOCK = /^\/calico\/ipam\/v2\/assignment\/ipv[46]\/block\/([^/]+)$/;

function objectOfKey(key: string, text: string): CalicoObject | string | undefined {
  const [, resource] = RESOURCE.exec(key) ?? [];
  const [, block] = BLOCK.exec(key) ?? [];
  if (resource === undefined && block === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return 'is no JSON';
  }
  if (!isFields(value)) return 'is no object';
  if (block === undefined)
    return {
      name: `${String(value['apiVersion'])}/${String(value['kind'])}/${resource}`,
      origin: key,
      value,
    };
  const head = { apiVersion: 'crd.projectcalico.org/v1', kind: 'IPAMBlock', metadata: { name: block } };
  return { name: `${head.apiVersion}/IPAMBlock/${block}`, origin: key, value: { ...head, spec: value } };
}
