/** Builds driver.c at first use and feeds it: requests in, milliseconds out. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Namespace } from '../test/host/namespace.ts';

export type Request = {
  readonly executable: string;
  readonly config: object;
  readonly environment: Readonly<Record<string, string>>;
};
export type Timing = { readonly eachMs: readonly number[]; readonly wallMs: number };

export type Driver = {
  /** In `netns`, one after the other or all at once. Throws when a request fails: a failure is no measurement. */
  run(netns: Namespace, requests: readonly Request[], parallel?: boolean): Promise<Timing>;
  close(): void;
};

export function openDriver(): Driver {
  const folder = mkdtempSync(join(tmpdir(), 'bx-driver-'));
  const program = join(folder, 'driver');
  execFileSync('gcc', ['-O2', '-Wall', '-Wextra', '-o', program, join(import.meta.dirname, 'driver.c')]);
  let serial = 0;
  const encode = (request: Request): string => {
    const input = join(folder, `${(serial += 1)}.json`);
    writeFileSync(input, JSON.stringify(request.config));
    const variables = Object.entries({ PATH: '/usr/sbin:/usr/bin:/sbin:/bin', ...request.environment });
    return [request.executable, input, ...variables.map(([key, value]) => `${key}=${value}`)].join('\t');
  };
  return {
    run: async (netns, requests, parallel = false) => {
      const input = requests.map((request) => `${encode(request)}\n`).join('');
      const text = await netns.must([program, parallel ? '1' : '0'], { input, timeoutMs: 120_000 });
      const lines = text
        .trim()
        .split('\n')
        .map((line) => line.split('\t').map(Number));
      const failed = lines.filter(([, code]) => code !== 0).length;
      if (failed > 0) throw new Error(`${failed} of ${requests.length} requests failed`);
      const times = lines.map(([ns]) => (ns ?? 0) / 1e6);
      return { eachMs: times.slice(0, -1), wallMs: times.at(-1) ?? 0 };
    },
    close: () => rmSync(folder, { recursive: true, force: true }),
  };
}
