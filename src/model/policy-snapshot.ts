/**
 * What an agent's policies and world are made of, as plain JSON: the same can be made of it on another machine, and with
 * other manifests beside it. #policy/inputs makes it and reads it.
 */
import type { Address } from '#net/address.ts';
import type { Labels, NodeWorkloads, PolicyWorld } from './workload.ts';

/** A Manifest whose lines are an object. */
export type ManifestText = {
  readonly source: string;
  readonly value: unknown;
  readonly lines: Readonly<Record<string, number>>;
};

export type NodeText = {
  readonly name: string;
  readonly labels: Labels;
  readonly addresses: readonly Address[];
};

export type PolicySnapshot = {
  /** Whose agent tells it. */
  readonly node: string;
  /** Those in use: of an object that became malformed, what it was before. */
  readonly manifests: readonly ManifestText[];
  readonly workloads: readonly NodeWorkloads[];
  /** As the store tells of them; manifests of kind Node add labels. */
  readonly nodes: readonly NodeText[];
  /** Addresses learned from DNS, by name as rules write it. */
  readonly names: Readonly<Record<string, readonly Address[]>>;
  readonly failsafe: PolicyWorld['failsafe'];
};
