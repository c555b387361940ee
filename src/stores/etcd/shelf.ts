import { Fault } from '#model/fault.ts';
import type { StoreObject } from '#model/store-object.ts';
import type { Shelf } from '../shelf.ts';
import type { EtcdStore } from './etcd.ts';
import { encodeText } from './messages.ts';
import { keyPrefix } from './object-text.ts';

/** Manifests as keys, so many in one transaction as etcd takes (128 operations, 1.5 MiB). */
const MAX_OPERATIONS = 100;
const MAX_BYTES = 512 << 10;

type Operation = { readonly bytes: number; readonly request: object };

export function etcdShelf({ client }: Pick<EtcdStore, 'client'>, prefix: string): Shelf {
  const below = keyPrefix(prefix, 'Manifest');
  const keyOf = ({ name }: StoreObject): string => encodeText(`${below}${name}`);
  const write = async (operations: readonly Operation[]): Promise<void> => {
    for (const batch of batches(operations))
      await client.call('/v3/kv/txn', { success: batch.map(({ request }) => request) });
  };
  return {
    keepsState: false,
    holds: (origin) => origin.startsWith(below),
    refusal: () => undefined,
    put: (objects) =>
      write(
        objects.map((object) => {
          const value = encodeText(JSON.stringify(object.value));
          return { bytes: value.length, request: { request_put: { key: keyOf(object), value } } };
        }),
      ),
    remove: (objects) =>
      write(
        objects.map((object) => ({ bytes: 0, request: { request_delete_range: { key: keyOf(object) } } })),
      ),
  };
}

function batches(operations: readonly Operation[]): Operation[][] {
  const all: Operation[][] = [];
  let [batch, bytes]: [Operation[], number] = [[], 0];
  for (const operation of operations) {
    if (operation.bytes > 2 * MAX_BYTES) throw new Fault('store-malformed', 'an object is larger than 1 MiB');
    if (batch.length === 0 || batch.length === MAX_OPERATIONS || bytes + operation.bytes > MAX_BYTES) {
      batch = [];
      bytes = 0;
      all.push(batch);
    }
    batch.push(operation);
    bytes += operation.bytes;
  }
  return all;
}
