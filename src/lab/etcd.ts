/**
 * The etcd of a lab, when its settings ask for that store and name no endpoints: one member on a socket in the lab's
 * directory, which every node sees, as nodes are namespaces of the network only.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Fault } from '#model/fault.ts';
import { endProcess, isRunning, type ProcessId, startDetached } from './process.ts';
import { labDirectory } from './topology.ts';

export type LabEtcd = {
  /** SIGKILL. Agents and pods go on. */
  stop(): Promise<void>;
  /** Starts it again. */
  start(): Promise<void>;
  /** Stopped, and everything that it held is gone. */
  wipe(): Promise<void>;
};

/** etcd names a socket by host and port, in its working directory. */
const CLIENTS = 'localhost:1';
const PEERS = 'localhost:2';
const START_MS = 30_000;

/** The settings, by group as in a file, ask for an etcd that nobody else runs. */
export function wantsEtcd(settings: Readonly<Record<string, unknown>>): boolean {
  const store = settings['store'] as {
    readonly type?: unknown;
    readonly etcd?: { readonly endpoints?: unknown };
  };
  return store?.type === 'etcd' && store.etcd?.endpoints === undefined;
}

export function etcdEndpoint(lab: string): string {
  return `unix://${join(directoryOf(lab), CLIENTS)}`;
}

/** Throws Fault `lab-state` when it does not answer in time, or is not installed. */
export async function startEtcd(lab: string): Promise<ProcessId> {
  const directory = directoryOf(lab);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  for (const socket of [CLIENTS, PEERS]) rmSync(join(directory, socket), { force: true });
  const flags = {
    name: 'lab',
    'data-dir': 'data',
    'listen-client-urls': `unix://${CLIENTS}`,
    'advertise-client-urls': `http://${CLIENTS}`,
    'listen-peer-urls': `unix://${PEERS}`,
    'initial-advertise-peer-urls': `http://${PEERS}`,
    'initial-cluster': `lab=http://${PEERS}`,
    logger: 'zap',
    'log-level': 'warn',
  };
  const words = Object.entries(flags).map(([flag, value]) => `--${flag}=${value}`);
  const log = join(directory, 'etcd.log');
  const started = startDetached(['env', '-C', directory, 'etcd', ...words], log);
  const deadline = Date.now() + START_MS;
  while (!(await answers(join(directory, CLIENTS)))) {
    if (isRunning(started) && Date.now() < deadline) await sleep(20);
    else throw new Fault('lab-state', `etcd does not start (apt-get install etcd-server?): see ${log}`);
  }
  return started;
}

/** `keep` and `kept`: where the lab remembers the process. */
export function etcdOf(
  lab: string,
  kept: () => ProcessId | undefined,
  keep: (id: ProcessId) => void,
): LabEtcd {
  const stop = async (): Promise<void> => {
    const running = kept();
    if (running !== undefined) await endProcess(running, 'SIGKILL');
  };
  return {
    stop,
    start: async () => {
      await stop();
      keep(await startEtcd(lab));
    },
    wipe: async () => {
      await stop();
      rmSync(join(directoryOf(lab), 'data'), { recursive: true, force: true });
    },
  };
}

function directoryOf(lab: string): string {
  return join(labDirectory(lab), 'etcd');
}

function answers(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const asked = request({ socketPath, path: '/health', timeout: 2000, agent: false }, (response) => {
      response.resume().on('end', () => resolve(response.statusCode === 200));
    });
    asked.on('timeout', () => asked.destroy());
    asked.on('error', () => resolve(false));
    asked.end();
  });
}
