/** Another provider's keys in etcd, read once. */
import { systemClock } from '#lib/clock.ts';
import { Fault } from '#model/fault.ts';
import type { StoreSettings } from '#model/settings.ts';
import { EtcdClient } from './client.ts';
import { listKind } from './listing.ts';
import { decodeText } from './messages.ts';

/** `below` ends with a slash. Throws Fault `settings-invalid` where the store is no etcd, and as EtcdClient.call. */
export async function readKeys(
  store: StoreSettings,
  below: string,
): Promise<{ readonly key: string; readonly value: string }[]> {
  if (store.type !== 'etcd')
    throw new Fault('settings-invalid', 'keys are read in the etcd of the store', {
      problems: [{ path: 'store.type', message: `is ${store.type}, not etcd` }],
    });
  const client = new EtcdClient({ settings: store.etcd, clock: systemClock, notice: () => undefined });
  try {
    const { kvs } = await listKind(client, below);
    return kvs.map(({ key, value = '' }) => ({ key: decodeText(key), value: decodeText(value) }));
  } finally {
    client.close();
  }
}
