/**
 * Traffic between pods of a lab that goes on while something else happens: 100 pings a second and a TCP stream between
 * each two pods that are given. What is told at the end is what was lost.
 */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Lab } from '../../src/lab/lab.ts';
import { namespaceAt, PATIENCE, waitFor } from './namespace.ts';

export type PingLoss = { readonly pair: string; readonly sent: number; readonly lost: number };
export type StreamEnd = {
  readonly pair: string;
  /** The connection still stood when it was ended. */
  readonly stood: boolean;
  readonly megabytes: number;
  /** Longest time without a byte, seconds. */
  readonly longestPause: number;
};
export type Traffic = { stop(): Promise<{ pings: PingLoss[]; streams: StreamEnd[] }> };

type Running = { readonly pair: string; readonly child: ChildProcess; readonly text: () => string };

const INTERVAL_S = 0.5;
/** An emulated machine has no time for more. */
const [PING_INTERVAL, RATE] = PATIENCE > 1 ? ['0.1', '500K'] : ['0.01', '8M'];
const STREAM_PORT = 5300;

/** Between each two of the pods, in the families that they have. Resolves once everything runs. */
export async function startTraffic(lab: Lab, names: readonly string[]): Promise<Traffic> {
  const pods = names.map((name) => podOf(lab, name));
  const pairs = pods.flatMap((from, index) => pods.slice(index + 1).map((to) => ({ from, to })));
  const start = (pair: string, netns: string, words: readonly string[]): Running => {
    const child = namespaceAt(netns).start(words, { stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '';
    child.stdout?.on('data', (chunk: Buffer) => (text += chunk.toString()));
    child.stderr?.on('data', (chunk: Buffer) => (text += chunk.toString()));
    return { pair, child, text: () => text };
  };
  const pings = pairs.flatMap(({ from, to }) =>
    to.addresses.map((address) =>
      start(`${from.name} to ${address}`, from.netns, ['ping', '-n', '-q', '-i', PING_INTERVAL, address]),
    ),
  );
  const servers = pairs.map(({ to }, index) =>
    start('', to.netns, ['iperf3', '-s', '-p', String(STREAM_PORT + index)]),
  );
  const streams: Running[] = [];
  for (const [index, { from, to }] of pairs.entries()) {
    const port = STREAM_PORT + index;
    await waitFor('a server', async () =>
      (await namespaceAt(to.netns).run(['ss', '-ltn'])).stdout.includes(`:${port}`),
    );
    // IPv6 where it is there, IPv4 for every other pair.
    const address = to.addresses[index % to.addresses.length] ?? '';
    const words = `iperf3 -c ${address} -p ${port} -t 900 -b ${RATE} -i ${INTERVAL_S} -f k --forceflush`;
    streams.push(start(`${from.name} to ${address}`, from.netns, words.split(' ')));
  }
  await waitFor('streams', () => streams.every(({ text }) => /sec +[\d.]+ KBytes/.test(text())));
  return {
    stop: async () => {
      const ends = streams.map(endOfStream);
      const losses = await Promise.all(pings.map(endOfPing));
      await Promise.all([...streams, ...servers].map(({ child }) => end(child, 'SIGKILL')));
      return { pings: losses, streams: ends };
    },
  };
}

function podOf(lab: Lab, name: string) {
  const pod = lab.pods().find((one) => one.name === name);
  if (pod === undefined) throw new Error(`no pod ${name}`);
  return pod;
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'close');
  child.kill(signal);
  await gone;
}

async function endOfPing({ pair, child, text }: Running): Promise<PingLoss> {
  await end(child, 'SIGINT');
  const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(text()) ?? [];
  if (sent === undefined) throw new Error(`${pair}: ${text()}`);
  return { pair, sent: Number(sent), lost: Number(sent) - Number(received) };
}

/** Lines of iperf3: `[  5]   0.50-1.00   sec   489 KBytes  8011 Kbits/sec    0   …`. */
function endOfStream({ pair, child, text }: Running): StreamEnd {
  const rows = [...text().matchAll(/sec +([\d.]+) KBytes/g)].map(([, kilobytes]) => Number(kilobytes));
  let [pause, longest] = [0, 0];
  for (const kilobytes of rows) {
    pause = kilobytes > 0 ? 0 : pause + INTERVAL_S;
    longest = Math.max(longest, pause);
  }
  return {
    pair,
    stood: child.exitCode === null && child.signalCode === null,
    megabytes: rows.reduce((sum, one) => sum + one, 0) / 1024,
    longestPause: longest,
  };
}
