/**
 * Where the API server is, and as whom it is asked: from a kubeconfig, or as a pod with its service account's token. All
 * of it is read again each minute and when it was refused, as tokens and certificates are exchanged while an agent lives.
 */
import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '#lib/clock.ts';
import { Fault } from '#model/fault.ts';
import type { ApiServerSettings } from '#model/settings.ts';
import { type Credentials, runPlugin } from './exec-plugin.ts';
import { type Context, type ExecPlugin, readKubeconfig } from './kubeconfig.ts';

export type Access = Pick<Context, 'server' | 'serverName' | 'ca' | 'cert' | 'key' | 'token'>;

export type AccessOptions = {
  readonly settings: Pick<ApiServerSettings, 'kubeconfig' | 'context' | 'server'>;
  readonly clock: Clock;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Where a pod finds its token. */
  readonly serviceAccount?: string;
};

export const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';
const STALE_MS = 60_000;
/** Credentials are exchanged so long before they end. */
const EARLY_MS = 30_000;

export class AccessReader {
  readonly #options: Required<AccessOptions>;
  #known: { readonly access: Access; readonly readAtMs: number } | undefined;
  #plugin: { readonly key: string; readonly credentials: Credentials } | undefined;
  #reading: Promise<Access> | undefined;

  constructor(options: AccessOptions) {
    this.#options = { env: process.env, serviceAccount: SERVICE_ACCOUNT, ...options };
  }

  /** What was read before, unless it is old, or refused: then a plug-in is asked again too. */
  async read(refused?: Access): Promise<Access> {
    const isRefused = refused !== undefined && refused === this.#known?.access;
    if (this.#known !== undefined && !isRefused && !this.#isStale(this.#known.readAtMs))
      return this.#known.access;
    if (isRefused) this.#plugin = undefined;
    this.#reading ??= this.#readAgain().finally(() => (this.#reading = undefined));
    return this.#reading;
  }

  async #readAgain(): Promise<Access> {
    const before = this.#known?.access;
    try {
      const read = await this.#readNow();
      const access = before !== undefined && isSame(before, read) ? before : read;
      this.#known = { access, readAtMs: this.#options.clock.monotonicMs() };
      return access;
    } catch (error) {
      // Files that are being exchanged can be read the next time.
      if (before === undefined) throw error;
      return before;
    }
  }
  async #readNow(): Promise<Access> {
    const { settings, env, serviceAccount } = this.#options;
    const context = readContext(settings, env, serviceAccount);
    const server = settings.server ?? context.server;
    const credentials = context.exec === undefined ? {} : await this.#ask(context, context.exec);
    const { token = context.token, cert = context.cert, key = context.key } = credentials;
    const isBare = new URL(server).protocol === 'http:' && !isLoopback(server);
    if (isBare) throw new Fault('settings-invalid', `${server} is plain text: https:// is needed`);
    return { server, serverName: context.serverName, ca: context.ca, cert, key, token };
  }
  async #ask(context: Context, plugin: ExecPlugin): Promise<Credentials> {
    const key = JSON.stringify([plugin, context.server]);
    const known = this.#plugin?.key === key ? this.#plugin.credentials : undefined;
    const isGood =
      known !== undefined && (known.expiresAtMs ?? Infinity) - EARLY_MS > this.#options.clock.nowMs();
    const credentials = isGood ? known : await runPlugin(context, plugin);
    this.#plugin = { key, credentials };
    return credentials;
  }
  #isStale(readAtMs: number): boolean {
    return this.#options.clock.monotonicMs() - readAtMs > STALE_MS;
  }
}

function isSame(a: Access, b: Access): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function isLoopback(server: string): boolean {
  return /^(localhost|127(\.\d+){3}|\[::1\])$/.test(new URL(server).hostname);
}

/** A kubeconfig that is named, else the pod's own, else kubectl's. Throws Fault `settings-invalid`. */
function readContext(
  { kubeconfig, context }: AccessOptions['settings'],
  env: Readonly<Record<string, string | undefined>>,
  serviceAccount: string,
): Context {
  if (kubeconfig !== undefined) return readKubeconfig(kubeconfig, context);
  if (existsSync(join(serviceAccount, 'token'))) return readInCluster(env, serviceAccount);
  const named = (env['KUBECONFIG'] ?? '').split(':').find((path) => path !== '' && existsSync(path));
  const usual = named ?? join(homedir(), '.kube/config');
  if (existsSync(usual)) return readKubeconfig(usual, context);
  const message = 'no API server is known: set store.kubernetes.kubeconfig, or run in a pod';
  throw new Fault('settings-invalid', message);
}

function readInCluster(env: Readonly<Record<string, string | undefined>>, directory: string): Context {
  const host = env['KUBERNETES_SERVICE_HOST'] ?? 'kubernetes.default.svc';
  const port = env['KUBERNETES_SERVICE_PORT'] ?? '443';
  const read = (name: string): string => readFileSync(join(directory, name), 'utf8');
  const address = host.includes(':') ? `[${host}]` : host;
  return { server: `https://${address}:${port}`, ca: read('ca.crt'), token: read('token').trim() };
}
