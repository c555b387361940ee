/**
 * Calico's allocations as ours: each of its blocks (libcalico-go/lib/backend/model/block.go, the same in etcd and as the spec of
 * an IPAMBlock) becomes one of ours with the same addresses in the same hands. Which pod has which is the node's ledger's to
 * know, so what a block tells of containers is answered beside it.
 */
import { given } from '#lib/given.ts';
import type { PodName } from '#model/attachment.ts';
import type { Block } from '#model/block.ts';
import type { Problem } from '#model/fault.ts';
import { type Fields, isFields } from '#model/manifest-shapes.ts';
import type { Reservation } from '#model/provider.ts';
import { nthAddress, parsePrefix, type Prefix, prefixFamily, prefixLength, prefixSize } from '#net/prefix.ts';

export type BlockObject = { readonly origin: string; readonly spec: Fields };

export type BlocksPlan = {
  readonly blocks: readonly Block[];
  /** Addresses of living pods, by the node that they are on. */
  readonly pods: ReadonlyMap<string, readonly Reservation[]>;
  readonly problems: readonly Problem[];
  readonly notes: readonly Problem[];
};

export type BlocksOptions = {
  /** Writes numbers as a block has them: `1-3,7`. */
  readonly format: (numbers: readonly number[]) => string;
  /** Lengths that a block may have. */
  readonly lengths: (family: 4 | 6) => { readonly min: number; readonly max: number };
};

/** One address that is not free: whose, and of which container where it is a pod's. */
type Taken = { readonly node: string; readonly containerId?: string; readonly pod?: PodName };
/** Answers that there is nothing. */
type Say = (message: string) => undefined;

const TUNNEL = /^(?:ipip|vxlan|vxlan-v6|wireguard|wireguard-v6)-tunnel-addr-/;

export function planBlocks(objects: readonly BlockObject[], options: BlocksOptions): BlocksPlan {
  const problems: Problem[] = [];
  const notes: Problem[] = [];
  const pods = new Map<string, Reservation[]>();
  const blocks = objects.flatMap(({ origin, spec }) => {
    const say = (list: Problem[], message: string): undefined => {
      list.push({ path: origin, message });
    };
    const refuse: Say = (message) => say(problems, message);
    const note: Say = (message) => say(notes, message);
    return readBlock(spec, { ...options, refuse, note, pods }) ?? [];
  });
  return { blocks, pods, problems, notes };
}

type Reading = BlocksOptions & {
  readonly refuse: Say;
  readonly note: Say;
  readonly pods: Map<string, Reservation[]>;
};

function readBlock(spec: Fields, reading: Reading): Block | undefined {
  const { refuse, note } = reading;
  const prefix = parsePrefix(String(spec['cidr']));
  if (prefix === undefined) return refuse(`cidr is ${JSON.stringify(spec['cidr'])}`);
  const { min, max } = reading.lengths(prefixFamily(prefix));
  if (prefixLength(prefix) < min || prefixLength(prefix) > max)
    return refuse(
      `${prefix} is no block of ours, which have /${min} to /${max}: move its pods to another pool`,
    );
  if (spec['deleted'] === true) return undefined;
  const affinity = typeof spec['affinity'] === 'string' ? spec['affinity'] : '';
  if (affinity.startsWith('virtual:'))
    return note(`${prefix} is of ${affinity.slice(8)}: services get addresses elsewhere`);
  const node = affinity.startsWith('host:') ? affinity.slice(5) : undefined;
  const taken = readTaken({ prefix, node, spec }, reading);
  return taken === undefined ? undefined : blockOf({ prefix, node, spec }, taken, reading);
}

type Source = { readonly prefix: Prefix; readonly node: string | undefined; readonly spec: Fields };

/** By number; undefined when the block cannot be believed. */
function readTaken(source: Source, reading: Reading): Map<number, Taken> | undefined {
  const { prefix, spec } = source;
  const { allocations, attributes } = spec;
  const size = Number(prefixSize(prefix));
  if (!Array.isArray(allocations) || allocations.length !== size || !Array.isArray(attributes))
    return reading.refuse(`allocations must be a list of ${size}, and attributes one`);
  const taken = new Map<number, Taken>();
  for (const [number, index] of (allocations as unknown[]).entries()) {
    if (index === null) continue;
    const attribute: unknown = attributes[Number(index)];
    const one = isFields(attribute) ? takenBy(attribute, source, { ...reading, number }) : undefined;
    if (one !== undefined) taken.set(number, one);
    else if (!isFields(attribute))
      return reading.refuse(`${nthAddress(prefix, BigInt(number))} has no attributes`);
  }
  return taken;
}

type Attribute = {
  readonly handle: string;
  readonly node: string | undefined;
  readonly pod: PodName | undefined;
  readonly isReleased: boolean;
};

function readAttribute(attribute: Fields, source: Source): Attribute {
  const { handle_id: id, secondary, releasedAt } = attribute;
  const handle = typeof id === 'string' ? id.trim() : '';
  const { node, pod, namespace } = isFields(secondary) ? secondary : {};
  const isPods = typeof pod === 'string' && typeof namespace === 'string' && handle.includes('.');
  return {
    handle,
    node: typeof node === 'string' ? node : source.node,
    pod: isPods ? { namespace, name: pod } : undefined,
    isReleased: releasedAt !== undefined && releasedAt !== null,
  };
}

/** Undefined: the address is free by now, or cannot be ours. */
function takenBy(told: Fields, source: Source, at: { number: number } & Reading): Taken | undefined {
  const { handle, node, pod, isReleased } = readAttribute(told, source);
  const what = `${nthAddress(source.prefix, BigInt(at.number))} (${handle === '' ? 'no handle' : handle})`;
  if (isReleased) return undefined;
  if (TUNNEL.test(handle)) return at.note(`${what} is given back: tunnels have their block’s first address`);
  if (node === undefined) return at.refuse(`${what} is of no node that is known`);
  if (at.number === 0)
    return at.refuse(`${what} is the block’s first address, its node’s own here: re-create the pod`);
  if (pod !== undefined) return { node, pod, containerId: handle.slice(handle.lastIndexOf('.') + 1) };
  at.note(`${what} is no pod’s that is known: it stays held by ${node}`);
  return { node };
}

/** Calico hands out what was released longest ago: that order is kept. */
function blockOf(
  { prefix, node, spec }: Source,
  taken: ReadonlyMap<number, Taken>,
  { format, pods }: Reading,
): Block {
  const size = Number(prefixSize(prefix));
  const told = Array.isArray(spec['unallocated']) ? spec['unallocated'].map(Number) : [];
  const isFree = (number: number): boolean => number > 0 && number < size && !taken.has(number);
  const rest = Array.from({ length: size }, (_, number) => number);
  const free = [...new Set([...told, ...rest])].filter(isFree);
  const holders = new Map<string, number[]>(node === undefined ? [] : [[node, []]]);
  for (const [number, { node: holder, containerId, pod }] of taken) {
    holders.set(holder, [...(holders.get(holder) ?? []), number]);
    if (containerId === undefined) continue;
    const address = nthAddress(prefix, BigInt(number));
    pods.set(holder, [
      ...(pods.get(holder) ?? []),
      { address, containerId, ifname: 'eth0', ...given('pod', pod) },
    ]);
  }
  const held = Array.from(
    holders,
    ([name, numbers]) => [name, { numbers: format(numbers), term: 0 }] as const,
  );
  return {
    prefix,
    ...(node === undefined ? {} : { node }),
    free: format(free),
    holders: Object.fromEntries(held),
  };
}
