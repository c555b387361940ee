/** The store contract against a real API server, through a proxy that can be cut; and what only a store in one can meet. */
import { after, before, test } from 'node:test';
import { Follower, stateContract } from '../../src/stores/contract.ts';
import { type KubernetesStore, openKubernetesStore } from '../../src/stores/kubernetes/kubernetes.ts';
import type { StoreKind } from '../../src/stores/store.ts';
import { type ApiServer, noApiServer, startApiServer } from '../kubernetes/api-server.ts';
import { clearState, defineState } from '../kubernetes/definitions.ts';
import { type CuttingProxy, startProxy } from '../runtimes/cutting-proxy.ts';

const skip = noApiServer ?? false;
let server: ApiServer;
let proxy: CuttingProxy;

if (noApiServer === undefined) {
  before(async () => {
    server = await startApiServer();
    await defineState(server);
    proxy = await startProxy(Number(new URL(server.url).port));
  });
  after(async () => {
    await proxy[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });
}

type Opened = Disposable & {
  readonly store: KubernetesStore;
  readonly notices: string[];
  readonly follow: (kind?: StoreKind) => Follower;
};

/** By way of the proxy where that is wanted. */
function open({ proxied = true, node }: { proxied?: boolean; node?: string } = {}): Opened {
  const url = proxied ? `https://127.0.0.1:${proxy.port}` : server.url;
  const settings = { kubeconfig: server.kubeconfig(), server: url, requestTimeoutSeconds: 5 };
  const notices: string[] = [];
  const store = openKubernetesStore({ settings, node, holdMs: 500, notice: (text) => notices.push(text) });
  const stop = new AbortController();
  return {
    store,
    notices,
    follow: (kind = 'Node') => new Follower(store, kind, stop.signal),
    [Symbol.dispose]: () => {
      stop.abort();
      store.close();
    },
  };
}

if (noApiServer === undefined) {
  stateContract('kubernetes', async () => {
    await clearState(server);
    const cluster = open();
    const other = open({ proxied: false });
    return {
      store: cluster.store,
      other: other.store,
      interrupt: async (noticed) => {
        proxy.refuse(true);
        proxy.cut();
        await noticed();
        proxy.refuse(false);
      },
      close: async () => {
        cluster[Symbol.dispose]();
        other[Symbol.dispose]();
      },
    };
  });
} else test('kubernetes: the store contract', { skip });
