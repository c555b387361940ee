import type { EtcdClient } from './client.ts';
import { type KeyValue, rangeBelow, type RangeResponse } from './messages.ts';
import { EtcdError } from './refusal.ts';

/** All objects of one kind at one revision, in pieces that fit into a message. */
export type Listing = { readonly kvs: readonly KeyValue[]; readonly revision: number };

const PAGE = 250;
/** The revision may be compacted between two pieces, when etcd is slow. */
const ATTEMPTS = 5;

/** `below`: what keys of the kind begin with. Throws as EtcdClient.call. */
export async function listKind(client: EtcdClient, below: string): Promise<Listing> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await listOnce(client, below);
    } catch (error) {
      const isCompacted = error instanceof EtcdError && error.isCompacted;
      if (!isCompacted || attempt === ATTEMPTS) throw error;
    }
  }
}

async function listOnce(client: EtcdClient, below: string): Promise<Listing> {
  const { key: first, range_end } = rangeBelow(below);
  const kvs: KeyValue[] = [];
  let [key, revision] = [first, '0'];
  for (;;) {
    const page = await client.call<RangeResponse>('/v3/kv/range', {
      key,
      range_end,
      limit: String(PAGE),
      revision,
    });
    if (revision === '0') revision = page.header.revision;
    for (const kv of page.kvs ?? []) kvs.push(kv);
    const last = kvs.at(-1);
    if (page.more !== true || last === undefined) return { kvs, revision: Number(revision) };
    key = after(last.key);
  }
}

/** The smallest key that is greater. */
function after(base64: string): string {
  return Buffer.concat([Buffer.from(base64, 'base64'), Buffer.alloc(1)]).toString('base64');
}
