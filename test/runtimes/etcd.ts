/**
 * etcd for tests: Debian's etcd-server, with members of its own on loopback (or on a socket) and data in a private directory.
 * Everything that is started is ended by its pid and leaves nothing behind.
 */
import { type ChildProcess, spawn, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { request as requestTls } from 'node:https';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { EtcdSettings } from '../../src/model/settings.ts';
import type { Namespace } from '../host/namespace.ts';
import { issueCertificate, makeAuthority } from './authority.ts';

const PROGRAM = '/usr/bin/etcd';

/** For `skip`: why tests of etcd cannot run here. */
export const noEtcd: string | false = existsSync(PROGRAM)
  ? false
  : 'etcd is not installed (apt-get install etcd-server)';

export type Member = {
  readonly name: string;
  readonly endpoint: string;
  start(): Promise<void>;
  /** SIGKILL unless said otherwise; resolves when it is gone. */
  stop(signal?: 'SIGKILL' | 'SIGTERM'): Promise<void>;
  /** Stopped, and its data are gone. */
  wipe(): Promise<void>;
  /** SIGSTOP or SIGCONT. */
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void;
  log(): string;
};

export type Etcd = AsyncDisposable & {
  readonly directory: string;
  readonly members: readonly Member[];
  readonly settings: EtcdSettings;
  /** A call of the gateway, without any user. Throws with etcd's words. */
  call(path: string, body: object, token?: string): Promise<Record<string, unknown>>;
  /** So that nothing before the present revision can be watched any more. */
  compact(): Promise<void>;
};

export type EtcdOptions = {
  readonly members?: number;
  readonly tls?: boolean;
  readonly quotaBytes?: number;
  /** Data are on disk before a write is answered; tests that do not measure have no use for it. */
  readonly fsync?: boolean;
  /** Where its loopback is; then neither `call` nor `compact` of this process reach it. */
  readonly netns?: Namespace;
};

export async function startEtcd(options: EtcdOptions = {}): Promise<Etcd> {
  const directory = mkdtempSync(join(tmpdir(), 'et-etcd-'));
  const places = await Promise.all(
    Array.from({ length: options.members ?? 1 }, async (_, index) => {
      const [client, peer] = [await freePort(), await freePort()];
      return { name: `m${index}`, client, peer };
    }),
  );
  const scheme = options.tls === true ? 'https' : 'http';
  if (options.tls === true) makeCertificates(directory);
  const cluster = places.map(({ name, peer }) => `${name}=http://127.0.0.1:${peer}`).join(',');
  const members = places.map(({ name, client, peer }): Member => {
    const url = `${scheme}://127.0.0.1:${client}`;
    const peerUrl = `http://127.0.0.1:${peer}`;
    const flags = {
      name,
      'data-dir': join(directory, name),
      logger: 'zap',
      'log-level': 'warn',
      'listen-client-urls': url,
      'advertise-client-urls': url,
      'listen-peer-urls': peerUrl,
      'initial-advertise-peer-urls': peerUrl,
      'initial-cluster': cluster,
      'initial-cluster-token': directory,
      'unsafe-no-fsync': String(options.fsync !== true),
      ...(options.quotaBytes === undefined ? {} : { 'quota-backend-bytes': String(options.quotaBytes) }),
      ...(options.tls === true ? tlsFlags(directory) : {}),
    };
    const words = Object.entries(flags).map(([flag, value]) => `--${flag}=${value}`);
    return makeMember({ directory, name, endpoint: url, netns: options.netns }, words);
  });
  const tls = options.tls === true ? tlsSettings(directory) : {};
  const endpoints = members.map(({ endpoint }) => endpoint);
  const settings: EtcdSettings = { endpoints, prefix: '/tartan', requestTimeoutSeconds: 2, ...tls };
  const stop = async (): Promise<void> => {
    await Promise.all(members.map((member) => member.stop()));
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    await Promise.all(members.map((member) => member.start()));
  } catch (error) {
    await stop();
    throw error;
  }
  const certificates = options.tls === true ? readCertificates(directory) : {};
  const call: Etcd['call'] = (path, body, token) => post(endpoints, { path, body, token, certificates });
  const compact = async (): Promise<void> => {
    const { header } = (await call('/v3/kv/range', { key: 'AA==' })) as { header: { revision: string } };
    await call('/v3/kv/compaction', { revision: header.revision, physical: true });
  };
  return { directory, members, settings, call, compact, [Symbol.asyncDispose]: stop };
}

type Place = {
  readonly directory: string;
  readonly name: string;
  readonly endpoint: string;
  readonly netns: Namespace | undefined;
};

function makeMember({ directory, name, endpoint, netns }: Place, words: readonly string[]): Member {
  let child: ChildProcess | undefined;
  const logFile = join(directory, `${name}.log`);
  const log = (): string => (existsSync(logFile) ? readFileSync(logFile, 'utf8') : '');
  const stop: Member['stop'] = async (signal = 'SIGKILL') => {
    const running = child;
    child = undefined;
    if (running === undefined || running.exitCode !== null || running.signalCode !== null) return;
    const gone = once(running, 'exit');
    running.kill(signal);
    running.kill('SIGCONT');
    await gone;
  };
  return {
    name,
    endpoint,
    log,
    stop,
    start: async () => {
      const output = openSync(logFile, 'a');
      const io = { stdio: ['ignore', output, output] } satisfies SpawnOptions;
      child = netns === undefined ? spawn(PROGRAM, words, io) : netns.start([PROGRAM, ...words], io);
      const started = child;
      // A test that runs out of time leaves nothing running.
      const end = (): void => void started.kill('SIGKILL');
      process.once('exit', end);
      started.once('exit', () => process.off('exit', end));
      const deadline = Date.now() + 30_000;
      for (let isUp = false; !isUp;) {
        if (started.exitCode !== null || Date.now() > deadline)
          throw new Error(`etcd does not start: ${log().slice(-2000)}`);
        isUp = await isListening(endpoint, netns);
        if (!isUp) await sleep(20);
      }
    },
    wipe: async () => {
      await stop();
      rmSync(join(directory, name), { recursive: true, force: true });
    },
    signal: (signal) => void child?.kill(signal),
  };
}

async function isListening(endpoint: string, netns: Namespace | undefined): Promise<boolean> {
  const { port } = new URL(endpoint);
  if (netns !== undefined)
    return (await netns.run(['curl', '-sko', '/dev/null', '-m', '2', endpoint])).code === 0;
  return new Promise((resolve) => {
    const socket = connect(Number(port), '127.0.0.1');
    socket.on('connect', () => (socket.destroy(), resolve(true)));
    socket.on('error', () => resolve(false));
  });
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : 0;
}

type Asked = {
  readonly path: string;
  readonly body: object;
  readonly token: string | undefined;
  readonly certificates: { readonly ca?: string; readonly cert?: string; readonly key?: string };
};

async function post(endpoints: readonly string[], asked: Asked): Promise<Record<string, unknown>> {
  let last: unknown;
  for (const endpoint of endpoints) {
    try {
      return await postOne(new URL(asked.path, endpoint), asked);
    } catch (error) {
      last = error;
    }
  }
  throw last;
}

function postOne(url: URL, { body, token, certificates }: Asked): Promise<Record<string, unknown>> {
  return new Promise((resolve, reject) => {
    const headers = token === undefined ? {} : { authorization: token };
    const ask = url.protocol === 'https:' ? requestTls : request;
    const options = { method: 'POST', agent: false, timeout: 10_000, headers, ...certificates } as const;
    const asked = ask(url, options, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => (text += part));
      response.on('end', () =>
        response.statusCode === 200
          ? resolve(JSON.parse(text) as Record<string, unknown>)
          : reject(new Error(text)),
      );
    });
    asked.on('error', reject);
    asked.end(JSON.stringify(body));
  });
}

function readCertificates(directory: string): Asked['certificates'] {
  const read = (name: string): string => readFileSync(join(directory, name), 'utf8');
  return { ca: read('ca.pem'), cert: read('nameless.pem'), key: read('nameless.key') };
}

/** An authority, and certificates: `node` with a common name, as etcd's and an administrator's, `nameless` without. */
function makeCertificates(directory: string): void {
  makeAuthority(directory, 'et-ca');
  for (const [name, subject] of [
    ['node', '/CN=et-node'],
    ['nameless', '/'],
  ] as const)
    issueCertificate(directory, { name, subject, names: 'IP:127.0.0.1' });
}

function tlsFlags(directory: string): Record<string, string> {
  const file = (name: string): string => join(directory, name);
  return {
    'cert-file': file('node.pem'),
    'key-file': file('node.key'),
    'client-cert-auth': 'true',
    'trusted-ca-file': file('ca.pem'),
  };
}

function tlsSettings(directory: string): Pick<EtcdSettings, 'caFile' | 'certFile' | 'keyFile'> {
  const file = (name: string): string => join(directory, name);
  return { caFile: file('ca.pem'), certFile: file('nameless.pem'), keyFile: file('nameless.key') };
}
