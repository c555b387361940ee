/** What the tests of policy in the agent share: a lab whose pods send and count, and the policies that are put in force. */
import type { ChildProcess } from 'node:child_process';
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { spawn } from 'node:child_process';
import type { Status } from '../../src/api/status.ts';
import { type Lab, type LabOptions, startLab } from '../../src/lab/lab.ts';
import type { PodRecord } from '../../src/lab/lab-file.ts';
import { waitFor } from './namespace.ts';

export type Probe = {
  /** Bytes that arrived so far. */
  readonly received: () => number;
  readonly stop: () => Promise<void>;
};

export type PolicyLab = AsyncDisposable & {
  readonly lab: Lab;
  /** Goes on in the namespace of a pod or node, which may still be in the making; ended with the lab. */
  readonly start: (netns: string, script: string) => ChildProcess;
  /** Receives at the pod's UDP port. */
  receive(pod: PodRecord, port: number, family?: 4 | 6): Promise<Probe>;
  /** Sends to the port without pause, each datagram the first of its flow. */
  send(netns: string, address: string, port: number): ChildProcess;
  /** Accepts TCP connections at the port and counts what they bring. */
  accept(pod: PodRecord, port: number): Promise<Probe>;
  /** A TCP connection that brings a few bytes every 20 ms. */
  stream(netns: string, address: string, port: number): ChildProcess;
  status(node: string): Promise<Status>;
};

export async function startPolicyLab(
  options: Omit<LabOptions, 'name'> & { label: string },
): Promise<PolicyLab> {
  const { label, ...rest } = options;
  const directory = mkdtempSync(join(tmpdir(), 'tartan-policy-'));
  const lab = await startLab({
    profile: 'canal',
    subnets: 1,
    nodes: 2,
    ...rest,
    name: `${label}-${process.pid}`,
  });
  const children = new Set<ChildProcess>();
  let files = 0;
  const start = (netns: string, script: string): ChildProcess => {
    // A namespace that is being made may be entered as soon as it can be, and not a moment later.
    const enter = 'until ip netns exec "$0" bash -c "$1"; do sleep 0.002; done';
    const child = spawn('bash', ['-c', enter, netns, script], { stdio: 'ignore', detached: true });
    children.add(child);
    child.on('exit', () => children.delete(child));
    return child;
  };
  const listen = async (pod: PodRecord, address: string, shown: string): Promise<Probe> => {
    const file = join(directory, String((files += 1)));
    writeFileSync(file, '');
    const child = start(pod.netns, `exec socat -u ${address} OPEN:${file},append`);
    await waitFor(`a listener at ${shown}`, async () =>
      (await lab.exec(pod.name, ['ss', '-lntuH'])).stdout.includes(shown),
    );
    return { received: () => readFileSync(file).length, stop: () => end(child) };
  };
  return {
    lab,
    start,
    receive: (pod, port, family = 4) => listen(pod, `UDP${family}-RECV:${port}`, `:${port} `),
    accept: (pod, port) => listen(pod, `TCP6-LISTEN:${port},fork,reuseaddr`, `:${port} `),
    send: (netns, address, port) =>
      start(netns, `while :; do echo probe > /dev/udp/${address}/${port}; done 2>/dev/null`),
    stream: (netns, address, port) =>
      start(
        netns,
        `while sleep 0.02; do echo tick; done | exec socat -u - TCP:${bracketed(address)}:${port}`,
      ),
    status: async (node) => JSON.parse((await lab.tartan(node, 'status', '-o', 'json')).stdout) as Status,
    [Symbol.asyncDispose]: async () => {
      await Promise.all([...children].map(end));
      await lab.down();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** The process and its children: a pipeline is a group of its own. */
export function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined)
    return Promise.resolve();
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  process.kill(-child.pid, 'SIGKILL');
  return ended;
}

export function bracketed(address: string): string {
  return address.includes(':') ? `[${address}]` : address;
}

/** A NetworkPolicy of namespace `shop`: who has `app: NAME` is reached only by these, at these ports if any are named. */
export function admits(app: string, from: readonly string[], ports: readonly number[] = []): string {
  const peers = from.map((name) => ({ podSelector: { matchLabels: { app: name } } }));
  const rule = { from: peers, ...(ports.length === 0 ? {} : { ports: ports.flatMap(bothProtocols) }) };
  return manifest(app, {
    podSelector: { matchLabels: { app } },
    policyTypes: ['Ingress'],
    ingress: from.length === 0 ? [] : [rule],
  });
}

/** Who has `app: NAME` reaches nobody. */
export function silences(app: string): string {
  return manifest(`${app}-silent`, { podSelector: { matchLabels: { app } }, policyTypes: ['Egress'] });
}

const bothProtocols = (port: number): object[] => ['TCP', 'UDP'].map((protocol) => ({ port, protocol }));

function manifest(name: string, spec: object): string {
  const metadata = { name, namespace: 'shop' };
  return `${JSON.stringify({ apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', metadata, spec }, null, 2)}\n`;
}

/** Until the node's agent has so many policies in force. */
export async function awaitPolicies(policies: PolicyLab, node: string, count: number): Promise<void> {
  await waitFor(
    `${count} policies on ${node}`,
    async () => (await policies.status(node)).policy?.policies === count,
  );
}

/** Whether `curl` reaches the pod's web server; a reset counts as reached, silence does not. */
export async function reaches({ lab }: PolicyLab, from: string, address: string): Promise<boolean> {
  const { code } = await lab.exec(from, ['curl', '-s', '-m', '1', `http://${bracketed(address)}/`]);
  return code === 0;
}

/** As an operator's editor does it who is slow: the file is emptied and written again piece by piece. */
export async function writeSlowly(path: string, text: string, pauseMs: number): Promise<void> {
  if (!existsSync(path)) throw new Error(`${path} is not there`);
  writeFileSync(path, '');
  for (const piece of text.match(/[^]{1,40}/g) ?? []) {
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
    appendFileSync(path, piece);
  }
}
