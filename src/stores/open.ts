/** The store that the settings name. What another type needs is loaded for that type only. */
import { Fault } from '#model/fault.ts';
import type { StoreSettings } from '#model/settings.ts';
import { type DirectoryOptions, openDirectoryStore } from './directory.ts';
import type { Store } from './store.ts';

export type OpenStore = Store & { close(): void };

export type OpenOptions = Pick<DirectoryOptions, 'lastGood'> & {
  /** Told when the store stops answering, and when it answers again. */
  readonly notice?: (text: string) => void;
};

export async function openStore(settings: StoreSettings, options: OpenOptions = {}): Promise<OpenStore> {
  if (settings.type === 'directory') return openDirectoryStore(settings.path, options);
  if (settings.type === 'kubernetes')
    throw new Fault('settings-invalid', 'store.type kubernetes is not built yet');
  const { openEtcdStore } = await import('./etcd/etcd.ts');
  return openEtcdStore({ settings: settings.etcd, ...options });
}
