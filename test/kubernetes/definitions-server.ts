/**
 * The server of Kubernetes for custom resources alone (apiextensions-apiserver), newer than the API server beside it, which tells it
 * who asks and what they may: it evaluates the rules (CEL) of definitions. scripts/apiextensions.sh builds it;
 * TARTAN_APIEXTENSIONS names another one.
 */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { waitFor } from '../host/namespace.ts';
import { startDaemon, tail } from '../runtimes/daemon.ts';
import { freePort } from '../runtimes/etcd.ts';
import { type ApiServer, type Ask, askServer, type Reply } from './api-server.ts';

const { TARTAN_APIEXTENSIONS, TARTAN_CACHE, XDG_CACHE_HOME } = process.env;
const CACHE = TARTAN_CACHE ?? join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'tartan');
const PROGRAM = TARTAN_APIEXTENSIONS ?? join(CACHE, 'apiextensions-0.26.15/apiextensions-apiserver');

/** For `skip`: why it cannot be run here, or undefined. */
export const noDefinitionsServer: string | undefined = existsSync(PROGRAM)
  ? undefined
  : `${PROGRAM} is not there: scripts/apiextensions.sh builds it (three minutes, once)`;

export type DefinitionsServer = AsyncDisposable & { ask(path: string, asked?: Ask): Promise<Reply> };

export const DEFINITIONS = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';

/** What is admitted is for the server beside it to know; here only definitions and their objects are. */
const PLUGINS = ['NamespaceLifecycle', 'MutatingAdmissionWebhook', 'ValidatingAdmissionWebhook'];

export async function startDefinitionsServer(beside: ApiServer): Promise<DefinitionsServer> {
  const port = await freePort();
  const file = (name: string): string => join(beside.directory, name);
  const certificates = file('definitions');
  mkdirSync(certificates);
  const flags = {
    'etcd-servers': beside.etcd.settings.endpoints.join(','),
    'etcd-prefix': '/definitions',
    'bind-address': '127.0.0.1',
    'secure-port': String(port),
    'cert-dir': certificates,
    'tls-cert-file': file('server.pem'),
    'tls-private-key-file': file('server.key'),
    kubeconfig: beside.kubeconfig(),
    'authentication-kubeconfig': beside.kubeconfig(),
    'authorization-kubeconfig': beside.kubeconfig(),
    'authentication-skip-lookup': 'true',
    'enable-priority-and-fairness': 'false',
    'disable-admission-plugins': PLUGINS.join(','),
  };
  const words = Object.entries(flags).map(([flag, value]) => `--${flag}=${value}`);
  const daemon = startDaemon([PROGRAM, ...words], file('definitions.log'));
  const ask = (path: string, asked: Ask = {}): Promise<Reply> =>
    askServer(new URL(path, `https://127.0.0.1:${port}`), readFileSync(beside.caFile), asked);
  const isReady = async (): Promise<boolean> => {
    if (daemon.ended() !== undefined) throw new Error(`it ended ${daemon.ended()}:\n${tail(daemon.log())}`);
    // Its own word waits for kinds that the server beside it is too old to have.
    const answer = await ask(DEFINITIONS).catch(() => undefined);
    return answer?.status === 200;
  };
  await waitFor('apiextensions-apiserver', isReady, 60_000).catch(async (error: unknown) => {
    await daemon.stop();
    throw new Error(`${String(error)}\n${tail(daemon.log())}`, { cause: error });
  });
  return { ask, [Symbol.asyncDispose]: () => daemon.stop() };
}
