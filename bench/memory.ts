/** Memory of processes: a cgroup made for them (version 1 or 2 of the memory controller), and what proc tells. */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export type MemoryGroup = { readonly path: string; peakMb(): number; remove(): void };

const VERSIONS = [
  { root: '/sys/fs/cgroup/memory', peak: 'memory.max_usage_in_bytes' },
  { root: '/sys/fs/cgroup', peak: 'memory.peak' },
] as const;

/** Empty, and of its own; undefined where there is no memory controller that tells a peak. */
export function makeMemoryGroup(name: string): MemoryGroup | undefined {
  for (const { root, peak } of VERSIONS) {
    if (!existsSync(join(root, 'cgroup.procs'))) continue;
    const path = join(root, name);
    mkdirSync(path);
    const remove = (): void => rmdirSync(path);
    if (existsSync(join(path, peak)))
      return { path, remove, peakMb: () => Number(readFileSync(join(path, peak), 'utf8')) / 2 ** 20 };
    remove();
  }
  return undefined;
}

/** A field of proc(5) status that is in kB (VmRSS, VmHWM), in MB. */
export function processMb(pid: number | undefined, field: string): number {
  const found = new RegExp(`${field}:\\s+(\\d+) kB`).exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(found?.[1]) / 1024;
}

/** VmHWM counts from here on (proc(5), clear_refs). */
export function resetPeak(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, '5');
}
