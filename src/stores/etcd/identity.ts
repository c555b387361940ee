import { randomBytes } from 'node:crypto';
import type { EtcdClient } from './client.ts';
import { decodeText, encodeText, type RangeResponse, type TxnResponse } from './messages.ts';
import { identityKey } from './object-text.ts';

/**
 * Which data these are. A wiped etcd, another one under the same address, or a prefix that was deleted whole answers as
 * well as the old one did; but it does not have the identity that was found before. Made where there is none.
 */
export async function readIdentity(client: EtcdClient, prefix: string): Promise<string> {
  const key = encodeText(identityKey(prefix));
  const { kvs } = await client.call<RangeResponse>('/v3/kv/range', { key });
  if (kvs?.[0] !== undefined) return decodeText(kvs[0].value ?? '');
  const fresh = randomBytes(12).toString('hex');
  const answer = await client.call<TxnResponse>('/v3/kv/txn', {
    compare: [{ key, target: 'MOD', result: 'EQUAL', mod_revision: '0' }],
    success: [{ request_put: { key, value: encodeText(fresh) } }],
  });
  return answer.succeeded === true ? fresh : readIdentity(client, prefix);
}
