import { addressValue } from '#net/address.ts';
import { contains, lastAddress, nthSubnet, type Prefix } from '#net/prefix.ts';
import { overlaps, parsePrefix, prefixAddress, prefixFamily, prefixLength } from '#net/prefix.ts';
import { Fault } from '#model/fault.ts';
import type { SubnetSettings } from '#model/settings.ts';
import type { SubnetClaim } from '#model/world.ts';

/**
 * Which subnet a node takes out of the cluster's range, for one family. A node that has one keeps it as long as it
 * fits, so that a live subnet never moves; what another node claims is never chosen, whatever its length.
 */
export type SubnetQuestion = {
  readonly settings: SubnetSettings;
  /** All claims that count now (expired ones left out), of either family. */
  readonly claims: readonly SubnetClaim[];
  readonly node: string;
  /** What the node had before, by its own memory; taken again when nobody else has it. */
  readonly previous?: Prefix;
  /** Spreads nodes that choose at the same moment: 0 ≤ random < 1. */
  readonly random: number;
};

export type SubnetChoice = {
  readonly subnet: Prefix;
  readonly source: 'claim' | 'reservation' | 'previous' | 'free';
  /** The operator's: use it as it is, do not write a claim and never let it expire. */
  readonly reserved: boolean;
  /** Claims of this node that the settings no longer allow: remove the leased, report the reserved. */
  readonly unfit: readonly SubnetClaim[];
};

/** As many of the first free subnets are drawn from (flannel pkg/subnet/etcd: the first 100). */
const DRAWN_FROM = 100;

/** Name of the object that claims the subnet: `/` written as `-`. */
export function claimName(subnet: Prefix): string {
  return subnet.replace('/', '-');
}

export function parseClaimName(name: string): Prefix | undefined {
  const dash = name.lastIndexOf('-');
  return dash < 0 ? undefined : parsePrefix(`${name.slice(0, dash)}/${name.slice(dash + 1)}`);
}

/** Throws Fault `subnet-exhausted` when every subnet between min and max overlaps a claim. */
export function chooseSubnet(question: SubnetQuestion): SubnetChoice {
  const { settings, node } = question;
  const claims = question.claims.filter((c) => prefixFamily(c.subnet) === prefixFamily(settings.range));
  const others = claims.filter((claim) => claim.node !== node);
  const own = claims.filter((claim) => claim.node === node);
  const fitting = own.filter((claim) => fits(settings, claim.subnet, claim.reserved));
  const unfit = own.filter((claim) => !fitting.includes(claim));
  const held = pickOwn(fitting, others);
  if (held !== undefined) {
    const source = held.reserved ? 'reservation' : 'claim';
    return { subnet: held.subnet, source, reserved: held.reserved, unfit };
  }
  if (previousIsFree(question, others)) {
    return { subnet: question.previous as Prefix, source: 'previous', reserved: false, unfit };
  }
  return { subnet: drawFree(question, others), source: 'free', reserved: false, unfit };
}

/** The node's lease before a reservation, so that pods that run keep their subnet; lowest first within each. */
function pickOwn(fitting: readonly SubnetClaim[], others: readonly SubnetClaim[]): SubnetClaim | undefined {
  const forbidden = others.filter((claim) => claim.reserved);
  return fitting
    .filter((claim) => claim.reserved || !forbidden.some((other) => overlaps(other.subnet, claim.subnet)))
    .sort((a, b) => Number(a.reserved) - Number(b.reserved) || compare(first(a.subnet), first(b.subnet)))[0];
}

/** A reservation may lie outside min and max, which bound only what nodes take by themselves. */
function fits(settings: SubnetSettings, subnet: Prefix, reserved: boolean): boolean {
  if (prefixLength(subnet) !== settings.length || !contains(settings.range, subnet)) return false;
  return reserved || (first(subnet) >= first(settings.min) && first(subnet) <= first(settings.max));
}

function previousIsFree(question: SubnetQuestion, others: readonly SubnetClaim[]): boolean {
  const { previous, settings } = question;
  if (previous === undefined || !fits(settings, previous, false)) return false;
  return !others.some((claim) => overlaps(claim.subnet, previous));
}

function drawFree(question: SubnetQuestion, others: readonly SubnetClaim[]): Prefix {
  const { settings } = question;
  const free = firstFree(settings, others);
  const drawn = free[Math.floor(question.random * free.length)];
  if (drawn !== undefined) return nthSubnet(settings.range, settings.length, drawn);
  throw new Fault(
    'subnet-exhausted',
    `no free /${settings.length} between ${settings.min} and ${settings.max}: ` +
      `${others.length} claims of other nodes are in ${settings.range}`,
  );
}

/** Numbers of the first free subnets, by walking over the sorted claims: a wide claim costs one step. */
function firstFree(settings: SubnetSettings, others: readonly SubnetClaim[]): bigint[] {
  const base = first(settings.range);
  const size = first(nthSubnet(settings.range, settings.length, 1n)) - base;
  const last = (first(settings.max) - base) / size;
  const taken = others
    .filter((claim) => overlaps(claim.subnet, settings.range))
    .map((claim) => ({
      from: (first(claim.subnet) - base) / size,
      to: (addressValue(lastAddress(claim.subnet)) - base) / size,
    }))
    .sort((a, b) => compare(a.from, b.from));
  const free: bigint[] = [];
  let next = (first(settings.min) - base) / size;
  for (const { from, to } of [...taken, { from: last + 1n, to: last }]) {
    const end = from <= last ? from : last + 1n;
    for (; next < end && free.length < DRAWN_FROM; next += 1n) free.push(next);
    if (to >= next) next = to + 1n;
  }
  return free;
}

function first(prefix: Prefix): bigint {
  return addressValue(prefixAddress(prefix));
}

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
