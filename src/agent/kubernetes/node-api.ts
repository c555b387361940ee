/** The Node object of this node, by the connection that its store has; undefined where the store is another one. */
import type { Settings } from '#model/settings.ts';
import type { KubernetesStore } from '#stores/kubernetes/kubernetes.ts';
import type { NodeApi } from '#stores/kubernetes/node-object.ts';
import type { Store } from '#stores/store.ts';

export async function nodeApiOf(store: Store, settings: Settings): Promise<NodeApi | undefined> {
  if (settings.store.type !== 'kubernetes') return undefined;
  const { openNodeApi } = await import('#stores/kubernetes/node-object.ts');
  return openNodeApi((store as KubernetesStore).client, settings.node.name);
}
