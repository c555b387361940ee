/**
 * Nodes that speak BGP, on one segment with a router of somebody else: node N has 192.168.1.N and fd00::N, and a pod with
 * 10.77.N.1 and fd77:0:0:N::1; the router has 192.168.1.9 and fd00::9. Every daemon is the real BIRD in a namespace.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '#lib/clock.ts';
import type { SeenSession } from '#model/routing.ts';
import { type Bird, openBird } from '../../src/bird/bird.ts';
import { execute, makeForwarding, makeNamespace, type Namespace, waitFor } from './namespace.ts';

export type Speaker = {
  readonly name: string;
  readonly netns: Namespace;
  readonly directory: string;
  readonly bird: Bird;
  /** What the daemon told of, newest last. */
  readonly changes: { readonly up: boolean; readonly why: string }[];
  readonly pid: () => number;
};

export type RoutingNet = {
  speaker(number: number): Speaker;
  /** Sessions by name, once all of them are up. */
  established(number: number, count: number): Promise<ReadonlyMap<string, SeenSession>>;
  close(): Promise<void>;
};

export const ROUTER = 9;

async function makeSpeaker(number: number, segment: Namespace): Promise<Speaker> {
  const netns = makeNamespace(`pm-${number}`);
  await makeForwarding(netns);
  segment.ip(`link add n${number} type veth peer name eth0 netns ${netns.name}`);
  segment.ip(`link set n${number} master br0 up`);
  netns.ip(`addr add 192.168.1.${number}/24 dev eth0`);
  netns.ip(`-6 addr add fd00::${number}/64 dev eth0 nodad`);
  netns.ip('link set eth0 up');
  netns.ip('link add pods0 type bridge');
  netns.ip(`addr add 10.77.${number}.1/24 dev pods0`);
  netns.ip(`-6 addr add fd77:0:0:${number}::1/64 dev pods0 nodad`);
  netns.ip('link set pods0 up');
  const directory = mkdtempSync(join(tmpdir(), `pm${number}-`));
  const changes: { up: boolean; why: string }[] = [];
  const bird = await openBird({
    directory,
    command: ['nsenter', `--net=${netns.path}`, 'bird'],
    clock: systemClock,
    timeoutMs: 30_000,
    onChange: (up, why) => changes.push({ up, why }),
  });
  const pid = (): number => Number(readFileSync(join(directory, 'bird.pid'), 'utf8'));
  return { name: `n${number}`, netns, directory, bird, changes, pid };
}

export async function makeRoutingNet(count: number): Promise<RoutingNet> {
  const segment = makeNamespace('pm-l2');
  segment.ip('link add br0 type bridge');
  segment.ip('link set br0 up');
  const speakers = new Map<number, Speaker>();
  for (const number of [...Array.from({ length: count }, (_, index) => index + 1), ROUTER])
    speakers.set(number, await makeSpeaker(number, segment));
  const speaker = (number: number): Speaker => {
    const found = speakers.get(number);
    if (found === undefined) throw new Error(`there is no node ${number}`);
    return found;
  };
  return {
    speaker,
    established: (number, count) =>
      waitFor(
        `${count} sessions of node ${number}`,
        async () => {
          const sessions = await speaker(number).bird.sessions();
          const byName = new Map(sessions.map((session) => [session.name, session]));
          return sessions.filter(({ up }) => up).length >= count && byName;
        },
        60_000,
      ),
    close: async () => {
      for (const { bird, netns, directory } of speakers.values()) {
        await bird.close('stop');
        rmSync(directory, { recursive: true, force: true });
        netns.remove();
      }
      segment.remove();
    },
  };
}

/** Routes that the daemon wrote, as `prefix via gateway`. */
export function learned({ netns }: Speaker, family: 4 | 6): string[] {
  const words = ['-j', `-${family}`, '-n', netns.name, 'route', 'show', 'proto', 'bird'];
  const routes = JSON.parse(execFileSync('ip', words, { encoding: 'utf8' }) || '[]') as {
    dst: string;
    gateway?: string;
    metric: number;
  }[];
  return routes.map(({ dst, gateway, metric }) => `${dst} via ${gateway} metric ${metric}`).sort();
}

/** Pings from pod to pod while the work is done. */
export async function lostWhile(
  from: Speaker,
  [source, target]: readonly [string, string],
  work: () => Promise<void>,
): Promise<{ readonly sent: number; readonly received: number }> {
  const ping = from.netns.start(['ping', '-q', '-i', '0.02', '-I', source, target], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let output = '';
  ping.stdout?.setEncoding('utf8').on('data', (text: string) => (output += text));
  const exit = new Promise<void>((resolve) => ping.on('close', () => resolve()));
  try {
    await work();
  } finally {
    ping.kill('SIGINT');
    await exit;
  }
  const [, sent, received] = /(\d+) packets transmitted, (\d+) (?:packets )?received/.exec(output) ?? [];
  return { sent: Number(sent), received: Number(received) };
}

/** Whether BIRD reads the text as a configuration; what it says if not. */
export async function checkConfig(directory: string, text: string): Promise<string> {
  const file = join(directory, 'checked.conf');
  writeFileSync(file, text, { mode: 0o600 });
  const { code, stderr } = await execute(['bird', '-p', '-c', file]);
  return code === 0 ? '' : stderr;
}
