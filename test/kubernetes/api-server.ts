/**
 * A real API server (kube-apiserver 1.20.2 on Debian's etcd) with RBAC, TLS and users known by tokens: on loopback, or in a
 * network namespace. Nothing else of Kubernetes runs: no controller acts on what is written. It is ended by pid and leaves
 * nothing behind.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request as requestTls } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { execute, waitFor, type Namespace, type Output } from '../host/namespace.ts';
import { issueCertificate, makeAuthority } from '../runtimes/authority.ts';
import { startDaemon, tail, type Daemon } from '../runtimes/daemon.ts';
import { freePort, noEtcd, startEtcd, type Etcd, type Member } from '../runtimes/etcd.ts';
import { pathOf, whyNoPrograms } from './programs.ts';

/** For `skip`: why tests of an API server cannot run here, or undefined. */
export const noApiServer: string | undefined = noEtcd || whyNoPrograms(['kube-apiserver', 'kubectl']);

export type User = { readonly name: string; readonly groups?: readonly string[] };

/** `admin` may do everything, `node1` to `node3` what kubelets may; `nobody` nothing that is not public. */
const USERS: Readonly<Record<string, User>> = {
  admin: { name: 'admin', groups: ['system:masters'] },
  node1: { name: 'system:node:node1', groups: ['system:nodes'] },
  node2: { name: 'system:node:node2', groups: ['system:nodes'] },
  node3: { name: 'system:node:node3', groups: ['system:nodes'] },
  nobody: { name: 'nobody' },
};

export type Reply = { readonly status: number; readonly body: Record<string, unknown> };
export type Ask = {
  readonly method?: string;
  /** Whose token goes along; default admin. */
  readonly user?: string;
  readonly body?: unknown;
  /** Of the body; default application/json, with PATCH application/merge-patch+json. */
  readonly contentType?: string;
};

/** What was asked of the server, from its audit log. */
export type Audited = {
  readonly verb: string;
  readonly requestURI: string;
  readonly user: { readonly username: string };
  readonly responseStatus?: { readonly code: number };
  readonly objectRef?: {
    readonly apiGroup?: string;
    readonly resource: string;
    readonly subresource?: string;
  };
};

export type ApiServer = AsyncDisposable & {
  readonly directory: string;
  /** `https://ADDRESS:PORT`. */
  readonly url: string;
  readonly caFile: string;
  readonly etcd: Etcd;
  /** The bearer token of a user of `options.users` or one that is always there: admin, node1 … node3, nobody. */
  token(user: string): string;
  /** The path of a kubeconfig file for that user. */
  kubeconfig(user?: string): string;
  kubectl(words: readonly string[], options?: { user?: string; input?: string }): Promise<Output>;
  /** One request, from this process (not into a namespace). */
  ask(path: string, options?: Ask): Promise<Reply>;
  /** All that was asked since the start; only with `audit`. */
  audited(): Audited[];
  /** SIGKILL: SIGTERM waits a minute for open watches. */
  kill(): Promise<void>;
  /** Starts it again after `kill`, on the same data and port; ready when this resolves. */
  start(): Promise<void>;
  /** SIGSTOP or SIGCONT: it keeps its connections and answers nothing. */
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void;
  /** Killed, its etcd emptied, and started: a cluster that has lost its data. */
  wipe(): Promise<void>;
  log(): string;
};

export type ApiServerOptions = {
  /** More users, by a short name that `token` and `kubeconfig` take. */
  readonly users?: Readonly<Record<string, User>>;
  /** In there on `address`:6443, with etcd on its loopback; otherwise on this host's loopback. */
  readonly place?: { readonly netns: Namespace; readonly address: string };
  /** More flags, without their dashes; they win over those that are set here. */
  readonly flags?: Readonly<Record<string, string>>;
  readonly audit?: boolean;
  /** Pods have one, as a controller manager makes them in every namespace; without one pods could not be created. */
  readonly serviceAccounts?: boolean;
};

type Site = { readonly netns: Namespace | undefined; readonly address: string; readonly port: number };

export async function startApiServer(options: ApiServerOptions = {}): Promise<ApiServer> {
  const { place } = options;
  const site: Site = {
    netns: place?.netns,
    address: place?.address ?? '127.0.0.1',
    port: place === undefined ? await freePort() : 6443,
  };
  const directory = mkdtempSync(join(tmpdir(), 'kr-api-'));
  const users = { ...USERS, ...options.users };
  writeFiles(directory, site, users);
  const etcd = await startEtcd(site.netns === undefined ? {} : { netns: site.netns });
  const server = makeServer({ directory, site, etcd, options, users });
  try {
    await server.start();
  } catch (error) {
    await server[Symbol.asyncDispose]();
    throw error;
  }
  return server;
}

const tokenOf = (user: string): string => `token-of-${user}`;
const urlOf = ({ address, port }: Site): string => `https://${address}:${port}`;

/** Certificates, the key of service accounts, the users and their kubeconfigs, the policy of the audit log. */
function writeFiles(directory: string, site: Site, users: Readonly<Record<string, User>>): void {
  makeAuthority(directory, 'kr-ca');
  const names = `IP:${site.address},IP:127.0.0.1,IP:10.96.0.1,DNS:kubernetes,DNS:kubernetes.default.svc`;
  issueCertificate(directory, { name: 'server', subject: '/CN=kube-apiserver', names });
  const rsa = ['genpkey', '-quiet', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048'];
  execFileSync('openssl', [...rsa, '-out', 'accounts.key'], { cwd: directory, stdio: 'pipe' });
  const lines = Object.entries(users).map(
    ([short, { name, groups = [] }]) => `${tokenOf(short)},${name},${short},"${groups.join(',')}"\n`,
  );
  writeFileSync(join(directory, 'tokens.csv'), lines.join(''));
  mkdirSync(join(directory, 'kubeconfig'));
  const cluster = { server: urlOf(site), 'certificate-authority': join(directory, 'ca.pem') };
  for (const user of Object.keys(users)) {
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'test', cluster }],
      users: [{ name: user, user: { token: tokenOf(user) } }],
      contexts: [{ name: 'test', context: { cluster: 'test', user } }],
      'current-context': 'test',
    };
    writeFileSync(join(directory, 'kubeconfig', user), stringify(config));
  }
  const policy = {
    apiVersion: 'audit.k8s.io/v1',
    kind: 'Policy',
    omitStages: ['RequestReceived'],
    rules: [{ level: 'Metadata' }],
  };
  writeFileSync(join(directory, 'audit.yaml'), stringify(policy));
}

type Parts = {
  readonly directory: string;
  readonly site: Site;
  readonly etcd: Etcd;
  readonly options: ApiServerOptions;
  readonly users: Readonly<Record<string, User>>;
};

function flagsOf({ directory, site, etcd, options }: Parts): Record<string, string> {
  const file = (name: string): string => join(directory, name);
  return {
    'etcd-servers': etcd.settings.endpoints.join(','),
    'bind-address': site.netns === undefined ? '127.0.0.1' : '0.0.0.0',
    // It must not be loopback; nobody goes there (RFC 5737) when the server is on loopback.
    'advertise-address': site.netns === undefined ? '192.0.2.1' : site.address,
    'secure-port': String(site.port),
    'tls-cert-file': file('server.pem'),
    'tls-private-key-file': file('server.key'),
    'client-ca-file': file('ca.pem'),
    'token-auth-file': file('tokens.csv'),
    'authorization-mode': 'Node,RBAC',
    'enable-admission-plugins': 'NodeRestriction',
    ...(options.serviceAccounts === true ? {} : { 'disable-admission-plugins': 'ServiceAccount' }),
    'service-cluster-ip-range': '10.96.0.0/16',
    'service-account-issuer': 'https://kubernetes.default.svc',
    'service-account-signing-key-file': file('accounts.key'),
    'service-account-key-file': file('accounts.key'),
    'allow-privileged': 'true',
    'kubelet-preferred-address-types': 'InternalIP',
    ...(options.audit === true
      ? { 'audit-policy-file': file('audit.yaml'), 'audit-log-path': file('audit.log') }
      : {}),
    ...options.flags,
  };
}

function makeServer(parts: Parts): ApiServer {
  const { directory, site, etcd, users } = parts;
  const file = (name: string): string => join(directory, name);
  const enter = site.netns === undefined ? [] : ['nsenter', `--net=${site.netns.path}`];
  let daemon: Daemon | undefined;
  const known = (user: string): string => {
    if (users[user] === undefined) throw new Error(`no user ${user} (${Object.keys(users).join(', ')})`);
    return user;
  };
  const kubeconfig = (user = 'admin'): string => join(directory, 'kubeconfig', known(user));
  const kubectl: ApiServer['kubectl'] = (words, { user, input = '' } = {}) =>
    execute([...enter, pathOf('kubectl'), '--kubeconfig', kubeconfig(user), ...words], {
      input,
      timeoutMs: 200_000,
    });
  const kill = async (): Promise<void> => {
    await daemon?.stop();
    daemon = undefined;
  };
  const start = async (): Promise<void> => {
    const flags = Object.entries(flagsOf(parts)).map(([flag, value]) => `--${flag}=${value}`);
    const started = startDaemon([...enter, pathOf('kube-apiserver'), ...flags], file('api.log'));
    daemon = started;
    // The namespace comes a moment after readiness.
    const urls = ['/readyz', '/api/v1/namespaces/default'].map((path) => `${urlOf(site)}${path}`);
    const header = `authorization: Bearer ${tokenOf('admin')}`;
    const isReady = async (): Promise<boolean> => {
      if (started.ended() !== undefined)
        throw new Error(`kube-apiserver ended ${started.ended()}:\n${tail(started.log())}`);
      const curl = ['curl', '-sf', '-m', '5', '--cacert', file('ca.pem'), '-H', header, ...urls];
      const { code, stdout } = await execute([...enter, ...curl]);
      return code === 0 && stdout.startsWith('ok');
    };
    await waitFor('kube-apiserver to be ready', isReady, 120_000).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${tail(started.log())}`, { cause: error });
    });
  };
  return {
    directory,
    url: urlOf(site),
    caFile: file('ca.pem'),
    etcd,
    token: (user) => tokenOf(known(user)),
    kubeconfig,
    kubectl,
    ask: (path, asked = {}) => askServer(new URL(path, urlOf(site)), readFileSync(file('ca.pem')), asked),
    audited: () =>
      readFileSync(file('audit.log'), 'utf8')
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as Audited),
    kill,
    start,
    signal: (signal) => daemon?.signal(signal),
    wipe: async () => {
      await kill();
      await Promise.all(etcd.members.map((member: Member) => member.wipe()));
      await Promise.all(etcd.members.map((member: Member) => member.start()));
      await start();
    },
    log: () => daemon?.log() ?? '',
    [Symbol.asyncDispose]: async () => {
      await kill();
      await etcd[Symbol.asyncDispose]();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

export function askServer(
  url: URL,
  ca: Buffer,
  { method = 'GET', user = 'admin', body, contentType }: Ask,
): Promise<Reply> {
  const type = contentType ?? (method === 'PATCH' ? 'application/merge-patch+json' : 'application/json');
  const headers = { authorization: `Bearer ${tokenOf(user)}`, 'content-type': type };
  return new Promise((resolve, reject) => {
    const asked = requestTls(url, { method, headers, ca, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => (text += part));
      response.on('error', reject);
      response.on('end', () => {
        const isJson = response.headers['content-type']?.startsWith('application/json') === true;
        const parsed = isJson ? (JSON.parse(text) as Record<string, unknown>) : { text };
        resolve({ status: response.statusCode ?? 0, body: parsed });
      });
    });
    asked.on('error', reject);
    asked.end(body === undefined ? undefined : JSON.stringify(body));
  });
}
