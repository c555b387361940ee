import { SharedRun } from '#lib/shared-run.ts';
import { Fault } from '#model/fault.ts';
import type { KubernetesClient } from './client.ts';

/**
 * Which cluster answers. A wiped one, or another at the same address, answers as well as the old one did; but its
 * namespace kube-system, which every cluster has and nobody can remove, is another object. Many watches ask at once.
 */
export class Identity {
  readonly #run: SharedRun<never>;
  #uid = '';

  constructor(client: Pick<KubernetesClient, 'call'>) {
    this.#run = new SharedRun(async () => {
      this.#uid = await readUid(client);
    });
  }

  /**
   * As it is after this was called. '': who asks may not know. Throws as the client's `call`; a cluster that is being
   * made has none yet.
   */
  async read(): Promise<string> {
    await this.#run.ask([]);
    return this.#uid;
  }
}

async function readUid(client: Pick<KubernetesClient, 'call'>): Promise<string> {
  try {
    const { metadata } = await client.call({ method: 'GET', path: '/api/v1/namespaces/kube-system' });
    return metadata.uid ?? '';
  } catch (error) {
    if (error instanceof Fault && error.code === 'store-refused') return '';
    throw error;
  }
}
