/** The store that the settings name. What another type needs is loaded for that type only. */
import { readFileSync } from 'node:fs';
import type { StoreSettings } from '#model/settings.ts';
import { type DirectoryOptions, openDirectoryStore } from './directory.ts';
import type { RelayUse } from './relay/relays.ts';
import type { Store } from './store.ts';

export type OpenStore = Store & { close(): void };

export type OpenOptions = Pick<DirectoryOptions, 'lastGood'> & {
  /** Told when the store stops answering, and when it answers again. */
  readonly notice?: (text: string) => void;
  /** Of pods in an API server, those of this node are read; absent: all. */
  readonly node?: string;
};

export async function openStore(settings: StoreSettings, options: OpenOptions = {}): Promise<OpenStore> {
  if (settings.type === 'directory') return openDirectoryStore(settings.path, options);
  if (settings.type === 'kubernetes') {
    const { openKubernetesStore } = await import('./kubernetes/kubernetes.ts');
    // What was good before is not asked for, and not kept for it: an API server's objects are whole.
    const { lastGood: _, ...rest } = options;
    return openKubernetesStore({ settings: settings.kubernetes, ...rest });
  }
  const { openEtcdStore } = await import('./etcd/etcd.ts');
  return openEtcdStore({ settings: settings.etcd, ...options });
}

/** `relayUse` is absent where no relay is asked for. */
export type WatchedStore = OpenStore & { readonly relayUse?: () => RelayUse };

/** The same store; watches come by way of a relay, where the settings want that and the cluster has one. */
export async function withRelays(
  store: OpenStore,
  settings: StoreSettings,
  notice: (text: string) => void,
): Promise<WatchedStore> {
  if (settings.type !== 'kubernetes') return store;
  const { relayTokenFile, requestTimeoutSeconds } = settings.kubernetes;
  if (relayTokenFile === undefined) return store;
  const { relayed } = await import('./relay/relayed.ts');
  const token = (): string => readFileSync(relayTokenFile, 'utf8').trim();
  return relayed({ store, token, timeoutMs: requestTimeoutSeconds * 1000, notice });
}
