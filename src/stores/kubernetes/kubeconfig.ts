/**
 * A kubeconfig (kubernetes/client-go tools/clientcmd/api/v1): the cluster and the user of one context. What kubectl would
 * do and this does not, like leaving certificates unverified, is refused and not passed over.
 */
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { Fault, type Problem } from '#model/fault.ts';

export type ExecPlugin = z.output<typeof exec>;

/** Data are PEM; a token may be in a file that is written again. */
export type Context = {
  readonly server: string;
  readonly serverName?: string | undefined;
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  readonly token?: string | undefined;
  readonly exec?: ExecPlugin | undefined;
  /** For a plug-in that asks about the cluster. */
  readonly namespace?: string | undefined;
};

const text = z.string().nullish();

const exec = z.object({
  apiVersion: z.string(),
  command: z.string().min(1),
  args: z.array(z.string()).nullish(),
  env: z.array(z.object({ name: z.string(), value: z.string() })).nullish(),
  installHint: text,
  provideClusterInfo: z.boolean().nullish(),
});

const cluster = z.object({
  server: z.string().regex(/^https?:\/\//, 'must begin with https://'),
  'tls-server-name': text,
  'certificate-authority': text,
  'certificate-authority-data': text,
  'insecure-skip-tls-verify': z.boolean().nullish(),
  'proxy-url': text,
});

const user = z.object({
  'client-certificate': text,
  'client-certificate-data': text,
  'client-key': text,
  'client-key-data': text,
  token: text,
  tokenFile: text,
  username: text,
  as: text,
  'auth-provider': z.unknown().optional(),
  exec: exec.nullish(),
});

const named = <Name extends string, T extends z.ZodType>(name: Name, value: T) =>
  z.array(z.object({ name: z.string(), [name]: value } as { name: z.ZodString } & Record<Name, T>)).nullish();

const config = z.object({
  clusters: named('cluster', cluster),
  users: named('user', user),
  contexts: named('context', z.object({ cluster: z.string(), user: z.string(), namespace: text })),
  'current-context': text,
});

/** Throws Fault `settings-invalid` with everything that is wrong; what a secret is, is never told. */
export function readKubeconfig(path: string, wanted: string | undefined): Context {
  const { cluster, user, namespace } = findContext(path, wanted);
  const problems = [...clusterProblems(cluster), ...userProblems(user)];
  if (problems.length > 0) throw wrong(path, problems);
  const read = (data: string | null | undefined, file: string | null | undefined): string | undefined =>
    readEither(path, data, file);
  // A file goes before what was written beside it, as client-go has it.
  const token = user.tokenFile ? read(undefined, user.tokenFile)?.trim() : user.token;
  return {
    server: cluster.server,
    serverName: cluster['tls-server-name'] ?? undefined,
    ca: read(cluster['certificate-authority-data'], cluster['certificate-authority']),
    cert: read(user['client-certificate-data'], user['client-certificate']),
    key: read(user['client-key-data'], user['client-key']),
    token: token ?? undefined,
    exec: user.exec ? atHome(path, user.exec) : undefined,
    namespace,
  };
}

type Found = { readonly cluster: Cluster; readonly user: User; readonly namespace: string | undefined };

function findContext(path: string, wanted: string | undefined): Found {
  const { contexts, clusters, users, 'current-context': current } = readConfig(path);
  const name = wanted ?? current ?? 'current context';
  const context = byName(contexts, name)?.context;
  if (context === undefined) throw wrong(path, [{ path: 'contexts', message: `there is no ${name}` }]);
  const cluster = byName(clusters, context.cluster)?.cluster;
  if (cluster === undefined)
    throw wrong(path, [{ path: 'clusters', message: `there is no ${context.cluster}` }]);
  const user = byName(users, context.user)?.user ?? {};
  return { cluster, user, namespace: context.namespace ?? undefined };
}

function byName<T extends { readonly name: string }>(
  list: readonly T[] | null | undefined,
  name: string,
): T | undefined {
  return list?.find((each) => each.name === name);
}

function readConfig(path: string): z.output<typeof config> {
  let raw: unknown;
  try {
    raw = parse(readFileSync(path, 'utf8'));
  } catch (error) {
    const code = (error as { readonly code?: unknown }).code;
    // A parser's words would show what is written there.
    const message = typeof code === 'string' && code.startsWith('E') ? code : 'is not YAML';
    throw wrong(path, [{ path: '', message }]);
  }
  const read = config.safeParse(raw);
  if (read.success) return read.data;
  throw wrong(
    path,
    read.error.issues.map((issue) => ({ path: issue.path.join('.'), message: issue.message })),
  );
}

function wrong(path: string, problems: readonly Problem[]): Fault {
  return new Fault('settings-invalid', `${path} cannot be used`, {
    problems: problems.map((problem) => ({
      path: `${path} ${problem.path}`.trim(),
      message: problem.message,
    })),
  });
}

function clusterProblems(cluster: Cluster): Problem[] {
  const problems: Problem[] = [];
  const refuse = (path: string, message: string): void => void problems.push({ path, message });
  if (cluster['insecure-skip-tls-verify'] === true)
    refuse('insecure-skip-tls-verify', 'is not done: certificates are verified');
  if (cluster['proxy-url']) refuse('proxy-url', 'is not supported');
  return problems;
}

function userProblems(user: User): Problem[] {
  const problems: Problem[] = [];
  const refuse = (path: string, message: string): void => void problems.push({ path, message });
  if (user.username) refuse('username', 'is not supported: Kubernetes has no passwords since 1.19');
  if (user.as) refuse('as', 'is not supported');
  if (user['auth-provider'] !== undefined && user['auth-provider'] !== null)
    refuse('auth-provider', 'is not supported: Kubernetes has exec plug-ins instead since 1.26');
  return problems;
}

type Cluster = z.output<typeof cluster>;
type User = Partial<z.output<typeof user>>;

function readEither(
  path: string,
  data: string | null | undefined,
  file: string | null | undefined,
): string | undefined {
  if (data) return Buffer.from(data, 'base64').toString('utf8');
  return file ? readFileSync(resolve(dirname(path), file), 'utf8') : undefined;
}

/** A command with a slash stands beside the kubeconfig. */
function atHome(path: string, plugin: ExecPlugin): ExecPlugin {
  const { command } = plugin;
  return command.includes('/') ? { ...plugin, command: resolve(dirname(path), command) } : plugin;
}
