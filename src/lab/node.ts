/** One node of a lab: its settings, its installed CNI executable and its agent process. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { stringify } from 'yaml';
import { API_SOCKET, TEXT_PATHS } from '#api/admin.ts';
import { Fault } from '#model/fault.ts';
import { inNetns, isRunning, must, type ProcessId, startDetached } from './process.ts';
import { etcdEndpoint, wantsEtcd } from './etcd.ts';
import type { RuntimePaths } from './runtime.ts';
import { labDirectory, type NodePlace, storePath } from './topology.ts';

/** Settings by group, as a settings file has them; what names the node and its places is added. */
export type RawSettings = Readonly<Record<string, unknown>>;

export type NodePaths = {
  readonly settings: string;
  readonly log: string;
  readonly run: string;
  readonly runtime: RuntimePaths;
};

export function nodePaths(lab: string, place: NodePlace): NodePaths {
  const directory = join(labDirectory(lab), place.name);
  return {
    settings: join(directory, 'settings.yaml'),
    log: join(directory, 'agent.log'),
    run: join(directory, 'run'),
    runtime: {
      netns: place.netns,
      bin: join(directory, 'cni/bin'),
      conf: join(directory, 'cni/net.d'),
      cache: join(directory, 'cni/cache'),
    },
  };
}

/** Writes the settings and runs `tartan install` with them, as an operator would. */
export async function prepareNode(lab: string, place: NodePlace, settings: RawSettings): Promise<void> {
  const paths = nodePaths(lab, place);
  mkdirSync(join(labDirectory(lab), place.name), { recursive: true, mode: 0o700 });
  writeFileSync(paths.settings, stringify(nodeSettings(lab, place, settings)));
  await must([...tartan(), 'install', '--config', paths.settings]);
}

function nodeSettings(lab: string, place: NodePlace, settings: RawSettings): RawSettings {
  const paths = nodePaths(lab, place);
  return {
    apiVersion: 'tartan.dev/v1',
    kind: 'Settings',
    ...settings,
    node: { name: place.name },
    store: storeSettings(lab, settings),
    paths: {
      run: paths.run,
      state: join(labDirectory(lab), place.name, 'state'),
      cniBin: paths.runtime.bin,
      cniConf: paths.runtime.conf,
      etc: join(labDirectory(lab), place.name, 'etc'),
    },
  };
}

/** The lab's own directory or etcd, or an etcd that somebody else runs. */
function storeSettings(lab: string, settings: RawSettings): RawSettings {
  const { store = {} } = settings as { readonly store?: { readonly type?: string; readonly etcd?: object } };
  if (store.type !== 'etcd') return { type: 'directory', path: storePath(lab) };
  return wantsEtcd(settings) ? { ...store, etcd: { ...store.etcd, endpoints: [etcdEndpoint(lab)] } } : store;
}

/** Starts the agent inside the node; it goes on when this process ends. */
export function startAgent(lab: string, place: NodePlace): ProcessId {
  const paths = nodePaths(lab, place);
  return startDetached(inNetns(place.netns, [...tartan(), 'agent', '--config', paths.settings]), paths.log);
}

/** Until the agent says that it is ready; Fault with its reasons, or the end of its log when it has died. */
export async function waitReady(
  lab: string,
  place: NodePlace,
  agent: ProcessId,
  timeoutMs: number,
): Promise<void> {
  const paths = nodePaths(lab, place);
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const { status, body } = await askReady(join(paths.run, API_SOCKET));
    if (status === 200) return;
    const late = Date.now() > deadline;
    if (late || !isRunning(agent)) {
      const what = late ? `is not ready after ${timeoutMs / 1000} s` : 'has ended';
      throw new Fault('lab-state', `the agent of ${place.name} ${what}: ${body.trim()}`, {
        problems: [{ path: paths.log, message: lastLines(paths.log) }],
      });
    }
    await sleep(20);
  }
}

/** The words that run this program again: as it is shipped where that is built, else the source. */
export function tartan(): string[] {
  const root = join(import.meta.dirname, '../..');
  const candidates = [join(import.meta.dirname, 'tartan'), join(root, 'dist/tartan')];
  const shipped = candidates.find(
    (file) => existsSync(file) && process.env['TARTAN_FROM_SOURCE'] === undefined,
  );
  return shipped === undefined ? [process.execPath, join(root, 'src/main.ts')] : [shipped];
}

function askReady(socketPath: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve) => {
    const none = (error: Error): void => resolve({ status: 0, body: error.message });
    const asked = request({ socketPath, path: TEXT_PATHS.ready, timeout: 2000, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => (body += text));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
      response.on('error', none);
    });
    asked.on('timeout', () => asked.destroy(new Error('no answer')));
    asked.on('error', none);
    asked.end();
  });
}

function lastLines(file: string): string {
  if (!existsSync(file)) return 'no log';
  return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-8).join('\n    ');
}
