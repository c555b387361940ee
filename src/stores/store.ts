/**
 * Objects by kind and name, with versions and watches: a directory, etcd or the Kubernetes API. Every store passes
 * ./contract.ts.
 */
export const STATE_KINDS = [
  'Node',
  'SubnetClaim',
  'Workloads',
  'Switch',
  'Block',
  'BlockLengths',
  'Pool',
  'Lease',
  'ClusterStatus',
  'Relay',
] as const;
/**
 * What agents and controllers write, each kind with values of one type (src/model): `Workloads`, of the node that names it, are
 * NodeWorkloads; a `Block` is named by its prefix; `BlockLengths` is one object. A `Pool` is the operator's to write, and read
 * as a manifest is. `Switch` is one object, the RoadSwitch of the cluster; `ClusterStatus` is one; a `Relay` is a RelayAdvert.
 * A `Lease` is, in Kubernetes, coordination.k8s.io's.
 */
export type StateKind = (typeof STATE_KINDS)[number];

/**
 * `Manifest`: any object of the operator's that is not of tartan.dev, whatever its kind, as it was written (value:
 * Manifest), named `apiVersion/kind/[namespace/]name`. Lists of the API (`v1 List`) are the objects in them. Of two
 * with one name the first counts and the other is told as `malformed`. Only read: writing one is refused with Fault
 * `store-conflict`.
 */
export type StoreKind = StateKind | 'Manifest';
export const STORE_KINDS: readonly StoreKind[] = [...STATE_KINDS, 'Manifest'];

/** Opaque; equal exactly when the object has not been written in between. */
export type Version = string & { readonly __brand: 'Version' };

export type Stored<T = unknown> = {
  readonly kind: StoreKind;
  readonly name: string;
  readonly value: T;
  readonly version: Version;
  /** Where the object stands, for messages: a file path or a key. */
  readonly origin: string;
  /** Epoch milliseconds after which the object counts as removed; absent: never. */
  readonly expiresAtMs?: number;
};

/**
 * A watch begins with `put` for all there is, then `synced`, then what changes. After `gap` (connection lost, events
 * dropped, a source suddenly empty) the present objects come again as `put`, closed by another `synced`: what was not
 * repeated by then has been removed. `isLoss`: the store has lost its data, so who wrote them writes them again; it
 * waits for that. `malformed` tells of an object that cannot be read; the last good one stays.
 */
export type StoreEvent =
  | { readonly type: 'put'; readonly object: Stored }
  | { readonly type: 'removed'; readonly name: string }
  | { readonly type: 'synced' }
  | { readonly type: 'gap'; readonly reason: string; readonly isLoss?: true }
  | {
      readonly type: 'malformed';
      readonly origin: string;
      readonly line: number | undefined;
      readonly message: string;
    };

export type PutOptions = {
  /** Compare-and-swap: the version that is there now, or `absent`. Missing: whatever is there. */
  readonly expect?: Version | 'absent';
  /** The object expires this long after the write, unless written again. Seconds. */
  readonly ttlSeconds?: number;
};

export type WatchOptions = {
  /** Of manifests only these are needed (`apiVersion/kind`). A store that is spared nothing by that tells of all. */
  readonly only?: string | undefined;
  /** Of manifests these are not needed. */
  readonly except?: string | undefined;
};

export interface Store {
  watch(kind: StoreKind, signal: AbortSignal, options?: WatchOptions): AsyncIterable<StoreEvent>;
  get(kind: StoreKind, name: string): Promise<Stored | undefined>;
  list(kind: StoreKind): Promise<Stored[]>;
  /** Throws Fault `store-conflict` when `expect` is not met. */
  put(kind: StoreKind, name: string, value: unknown, options?: PutOptions): Promise<Stored>;
  /** Removing what is not there is fine; `expect` as for put. */
  remove(kind: StoreKind, name: string, options?: { readonly expect?: Version }): Promise<void>;
}
