/** Credentials from a command, as kubeconfigs of clouds have it (kubernetes/client-go pkg/apis/clientauthentication). */
import { execFile } from 'node:child_process';
import { z } from 'zod';
import { Fault } from '#model/fault.ts';
import type { Context, ExecPlugin } from './kubeconfig.ts';

export type Credentials = {
  readonly token?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  /** Epoch milliseconds; absent: until they are refused. */
  readonly expiresAtMs?: number | undefined;
};

const answer = z.object({
  status: z.object({
    token: z.string().nullish(),
    clientCertificateData: z.string().nullish(),
    clientKeyData: z.string().nullish(),
    expirationTimestamp: z.string().nullish(),
  }),
});

const TIMEOUT_MS = 60_000;

/** Throws Fault `store-refused`; what the command wrote is not told, as there may be a secret in it. */
export async function runPlugin(context: Context, plugin: ExecPlugin): Promise<Credentials> {
  const output = await runCommand(plugin, infoOf(context, plugin));
  const read = answer.safeParse(parseJson(output));
  if (!read.success)
    throw new Fault('store-refused', `${plugin.command} has not answered with an ExecCredential`);
  const { token, clientCertificateData, clientKeyData, expirationTimestamp } = read.data.status;
  const expiresAtMs = Date.parse(expirationTimestamp ?? '');
  return {
    token: token ?? undefined,
    cert: clientCertificateData ?? undefined,
    key: clientKeyData ?? undefined,
    expiresAtMs: Number.isNaN(expiresAtMs) ? undefined : expiresAtMs,
  };
}

function infoOf({ server, serverName, ca }: Context, { apiVersion, provideClusterInfo }: ExecPlugin): string {
  const cluster = {
    server,
    ...(serverName === undefined ? {} : { 'tls-server-name': serverName }),
    ...(ca === undefined ? {} : { 'certificate-authority-data': Buffer.from(ca).toString('base64') }),
  };
  const spec = { interactive: false, ...(provideClusterInfo === true ? { cluster } : {}) };
  return JSON.stringify({ apiVersion, kind: 'ExecCredential', spec });
}

function runCommand({ command, args, env, installHint }: ExecPlugin, info: string): Promise<string> {
  const added = Object.fromEntries((env ?? []).map(({ name, value }) => [name, value]));
  const options = {
    env: { ...process.env, ...added, KUBERNETES_EXEC_INFO: info },
    timeout: TIMEOUT_MS,
    maxBuffer: 1 << 20,
  };
  return new Promise((resolve, reject) => {
    execFile(command, args ?? [], options, (error, stdout) => {
      if (error === null) return resolve(stdout);
      const { code } = error;
      const why =
        code === 'ENOENT' ? `is not there${installHint ? `: ${installHint}` : ''}` : `has failed (${code})`;
      reject(new Fault('store-refused', `${command}, which the kubeconfig asks for credentials, ${why}`));
    });
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
