/** Feeds driver.c, built at first use: requests in, milliseconds out. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Namespace } from '../test/host/namespace.ts';
import { buildProgram } from './program.ts';

/** One pod's request: the plugins of a chain in the order in which they run. */
export type Request = {
  readonly plugins: readonly { readonly executable: string; readonly config: object }[];
  readonly environment: Readonly<Record<string, string>>;
};
/** `goneMs`: from the start until the kernel told that the link is gone; empty unless asked for. */
export type Timing = {
  readonly eachMs: readonly number[];
  readonly goneMs: readonly number[];
  readonly wallMs: number;
};
export type Mode = 'sequence' | 'burst' | 'until gone';
const MODES: Readonly<Record<Mode, string>> = { sequence: '0', burst: '1', 'until gone': '2' };

export type RunOptions = {
  readonly mode: Mode;
  /** Where the plugins' processes are put. */ readonly cgroup?: string;
};

export type Driver = {
  /** In `netns`. Throws when a request fails: a failure is no measurement. */
  run(netns: Namespace, requests: readonly Request[], options: RunOptions): Promise<Timing>;
  close(): void;
};

/** The error objects among what plugins printed. */
function errorsIn(file: string): string {
  const objects = readFileSync(file, 'utf8').split(/(?<=\})\s*(?=\{\s*"cniVersion")/);
  return objects
    .filter((text) => text.includes('"code"'))
    .join('\n')
    .slice(0, 4000);
}

export function openDriver(): Driver {
  const { folder, path: program, remove } = buildProgram('driver');
  const answers = join(folder, 'answers');
  let serial = 0;
  const encode = ({ plugins, environment }: Request): string => {
    const steps = plugins.flatMap(({ executable, config }) => {
      const input = join(folder, `${(serial += 1)}.json`);
      writeFileSync(input, JSON.stringify(config));
      return [executable, input];
    });
    const variables = Object.entries({ PATH: '/usr/sbin:/usr/bin:/sbin:/bin', ...environment });
    return [plugins.length, ...steps, ...variables.map(([key, value]) => `${key}=${value}`)].join('\t');
  };
  return {
    run: async (netns, requests, { mode, cgroup }) => {
      const input = requests.map((request) => `${encode(request)}\n`).join('');
      const within = cgroup === undefined ? [] : ['env', `BENCH_CGROUP=${cgroup}`];
      writeFileSync(answers, '');
      const argv = [...within, program, MODES[mode], answers];
      const text = await netns.must(argv, { input, timeoutMs: 120_000 });
      const lines = text
        .trim()
        .split('\n')
        .map((line) => line.split('\t').map(Number));
      const failed = lines.filter(([, code]) => code !== 0).length;
      if (failed > 0)
        throw new Error(`${failed} of ${requests.length} requests failed: ${errorsIn(answers)}`);
      const column = (number: 0 | 2): number[] => lines.map((fields) => (fields[number] ?? 0) / 1e6);
      return {
        eachMs: column(0).slice(0, -1),
        goneMs: mode === 'until gone' ? column(2).slice(0, -1) : [],
        wallMs: column(0).at(-1) ?? 0,
      };
    },
    close: remove,
  };
}
