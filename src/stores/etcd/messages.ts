/**
 * What etcd's JSON gateway speaks (etcd 3.4 and later, `/v3/…`; messages of api/etcdserverpb/rpc.proto): bytes in base64,
 * 64-bit numbers as strings of digits, and what is zero, false or empty is absent.
 */
export type Header = { readonly cluster_id: string; readonly revision: string };

export type KeyValue = {
  readonly key: string;
  readonly value?: string;
  /** Revision of the last write. */
  readonly mod_revision: string;
  readonly lease?: string;
};

export type RangeResponse = {
  readonly header: Header;
  readonly kvs?: readonly KeyValue[];
  readonly more?: boolean;
};

export type TxnResponse = {
  readonly header: Header;
  readonly succeeded?: boolean;
  readonly responses?: readonly {
    readonly response_range?: { readonly kvs?: readonly KeyValue[] };
    readonly response_put?: { readonly prev_kv?: KeyValue };
    readonly response_delete_range?: { readonly deleted?: string };
  }[];
};

export type LeaseResponse = { readonly ID: string; readonly TTL?: string; readonly error?: string };

export type WatchEvent = { readonly type?: 'PUT' | 'DELETE'; readonly kv: KeyValue };

export type WatchResponse = {
  readonly header: Header;
  readonly created?: boolean;
  readonly canceled?: boolean;
  readonly cancel_reason?: string;
  /** The watch asked for revisions that are compacted; this is the first that is not. */
  readonly compact_revision?: string;
  /** More of the same revision follows. */
  readonly fragment?: boolean;
  readonly events?: readonly WatchEvent[];
};

/** Each line of a stream. */
export type StreamLine = {
  readonly result?: WatchResponse;
  readonly error?: { readonly grpc_code?: number; readonly code?: number; readonly message?: string };
};

export function encodeText(text: string): string {
  return Buffer.from(text).toString('base64');
}

export function decodeText(base64: string): string {
  return Buffer.from(base64, 'base64').toString('utf8');
}

/** The range of all keys that begin with this, which ends with `/`: the next character is `0`. */
export function rangeBelow(prefix: string): { readonly key: string; readonly range_end: string } {
  return { key: encodeText(prefix), range_end: encodeText(`${prefix.slice(0, -1)}0`) };
}
