/** Pings that go on while something else happens, and say afterwards what was lost. */
import assert from 'node:assert/strict';
import { type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Namespace } from './namespace.ts';

export type Ping = {
  /** Ends it; '' when every packet before the last that was answered has been answered. */
  lost(): Promise<string>;
  /** Ends it, whatever was lost. */
  stop(): Promise<void>;
};

/** Ten times a second. */
export function startPing(from: Namespace, to: string): Ping {
  const ping = from.start(['ping', '-n', '-i', '0.1', '-W', '2', to], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  ping.stdout?.setEncoding('utf8').on('data', (part: string) => (text += part));
  return {
    stop: () => interrupt(ping),
    lost: async () => {
      await interrupt(ping);
      const answered = new Set([...text.matchAll(/icmp_seq=(\d+) ttl/g)].map((match) => Number(match[1])));
      const last = Math.max(...answered);
      assert.ok(last > 20, `hardly anything was answered: ${text}`);
      const numbers = Array.from({ length: last }, (_, index) => index + 1);
      const lost = numbers.filter((number) => !answered.has(number));
      return lost.length === 0 ? '' : `${from.name} to ${to}: ${lost.join(' ')}`;
    },
  };
}

export async function interrupt(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGINT');
  await gone;
}
