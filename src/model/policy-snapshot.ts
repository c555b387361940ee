/**
 * All that an agent's policies and their world are made of, as plain data: as JSON and back, it makes the same of them on
 * another machine, and what they would be with other manifests. #policy/inputs/snapshot.ts makes it and reads it.
 */
import type { Address } from '#net/address.ts';
import type { Problem } from './fault.ts';
import type { Manifest } from './manifest.ts';
import type { NodeWorkloads, PolicyWorld, Workload } from './workload.ts';

export type NamedManifest = { readonly name: string; readonly manifest: Manifest };

export type PolicySnapshot = {
  /** Whose agent tells it. */
  readonly node: string;
  /** By the names that the store gives them. */
  readonly manifests: readonly {
    readonly name: string;
    /** What is in force: of an object that became malformed, what it was before. */
    readonly manifest?: Manifest;
    /** What is wrong with what it became. */
    readonly problems: readonly Problem[];
  }[];
  /** Tiers that are gone, and stay only because policies are in them. */
  readonly retained: readonly NamedManifest[];
  readonly workloads: readonly NodeWorkloads[];
  /** Of the node itself; absent: nobody told. */
  readonly own?: readonly Workload[];
  /** As the nodes' agents tell of them; manifests of kind Node add labels. */
  readonly nodes: readonly { readonly name: string; readonly addresses: readonly Address[] }[];
  /** Interfaces of the node's addresses, as far as a host endpoint asks. */
  readonly links: readonly { readonly address: Address; readonly link: string }[];
  /** What this node has learned of DNS names, as rules write them; absent: it tells nothing of them. */
  readonly names?: readonly { readonly name: string; readonly addresses: readonly Address[] }[];
  /** Absent: Calico's. */
  readonly failsafe?: PolicyWorld['failsafe'];
  /** Of objects that name none; absent: `default`. */
  readonly defaultNamespace?: string;
};
