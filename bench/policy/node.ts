/**
 * The agent as it is shipped, profile `canal`, with 250 pods that were added by its CNI executable; and more pods that
 * come and go.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pid } from 'node:process';
import type { Workload } from '#model/workload.ts';
import { waitFor } from '../../test/host/namespace.ts';
import { type Node, startNode } from '../../test/host/node.ts';
import type { Driver, Request, Timing } from '../driver.ts';

/** Room for all pods of this node, beside those of the cluster. */
const NETWORK = {
  name: 'tartan',
  ipv4: { range: '10.64.0.0/10', subnetLength: 22, nodeSubnet: '10.127.0.0/22' },
};

export type Place = { readonly name: string; readonly path: string };
export type Places = { readonly list: readonly Place[]; remove(): void };

/** So many network namespaces, made and removed in one go: for pods, in which nothing runs. */
export function makePlaces(label: string, count: number): Places {
  const list = Array.from({ length: count }, (_, n) => {
    const name = `pk-${pid.toString(36)}-${label}${n}`;
    return { name, path: `/run/netns/${name}` };
  });
  const batch = (verb: 'add' | 'delete'): void => {
    const input = list.map(({ name }) => `netns ${verb} ${name}\n`).join('');
    execFileSync('ip', ['-batch', '-'], { input });
  };
  batch('add');
  return { list, remove: () => batch('delete') };
}

export type Guest = { readonly place: Place; readonly pod: Workload };

/** The requests of a runtime that tells the agent of the pod's labels. */
export function requestsOf({ bin }: Node, verb: 'ADD' | 'DEL', guests: readonly Guest[]): Request[] {
  return guests.map(({ place, pod }) => ({
    plugins: [
      {
        executable: join(bin, 'tartan-cni'),
        config: {
          cniVersion: '1.1.0',
          name: NETWORK.name,
          type: 'tartan-cni',
          args: { cni: { labels: Object.entries(pod.labels).map(([key, value]) => ({ key, value })) } },
        },
      },
    ],
    environment: {
      CNI_COMMAND: verb,
      CNI_CONTAINERID: `pk${place.name}`,
      CNI_NETNS: place.path,
      CNI_IFNAME: 'eth0',
      CNI_PATH: bin,
      CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=${pod.namespace};K8S_POD_NAME=${pod.name}`,
    },
  }));
}

export type Bench = {
  readonly node: Node;
  readonly store: string;
  /** Takes these away again, until their links are gone. */
  remove(guests: readonly Guest[]): Promise<void>;
  add(guests: readonly Guest[]): Promise<Timing>;
};

const links = ({ netns }: Node): number =>
  netns.list<{ ifname: string }>('link show type veth').filter(({ ifname }) => ifname !== 'eth0').length;

/** With an empty store; undone with the stack. */
export async function makeBench(name: string, driver: Driver, undo: AsyncDisposableStack): Promise<Bench> {
  const store = mkdtempSync(join(tmpdir(), `${name}-store-`));
  undo.defer(() => rmSync(store, { recursive: true, force: true }));
  const node = await startNode(name, { profile: 'canal', network: NETWORK }, { store });
  undo.defer(() => node.stop());
  const run = (verb: 'ADD' | 'DEL', guests: readonly Guest[]): Promise<Timing> =>
    driver.run(node.netns, requestsOf(node, verb, guests), { mode: 'sequence' });
  return {
    node,
    store,
    add: (guests) => run('ADD', guests),
    remove: async (guests) => {
      const before = links(node);
      await run('DEL', guests);
      await waitFor('links to go', () => links(node) === before - guests.length, 60_000);
    },
  };
}

export type Agent = { readonly pid: number; end(): Promise<void> };

/** Starts the agent; answers when its log says that policies are loaded. NODE_OPTIONS reaches it. */
export async function startAgent({ node }: Bench): Promise<Agent & { readonly tookMs: number }> {
  const program = join(import.meta.dirname, '../../dist/tartan');
  const words = [`--net=${node.netns.path}`, program, 'agent', '--config', node.settingsFile];
  const begun = performance.now();
  const agent = spawn('nsenter', words, { stdio: ['ignore', 'inherit', 'pipe'] });
  await whenLoaded(agent);
  return { pid: agent.pid ?? 0, tookMs: performance.now() - begun, end: () => endAgent(agent) };
}

/** To ask for it would take of its time. */
function whenLoaded(agent: ChildProcess): Promise<void> {
  let text = '';
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => {
      reject(new Error(`policies are not loaded after two minutes: ${text.slice(-2000)}`));
    }, 120_000);
    agent.once('exit', () => reject(new Error(`the agent ended: ${text.slice(-2000)}`)));
    agent.stderr?.on('data', (chunk: Buffer) => {
      text = `${text}${chunk.toString()}`.slice(-100_000);
      if (!text.includes('policies are loaded:')) return;
      clearTimeout(late);
      resolve();
    });
  });
}

async function endAgent(agent: ChildProcess): Promise<void> {
  const gone = new Promise((done) => agent.once('exit', done));
  agent.kill('SIGTERM');
  await gone;
}
