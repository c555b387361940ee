/**
 * Sysctls by /proc/sys, of the calling thread's network namespace as far as they are below `net/`. Runs of white space
 * in a value count as one blank, so that what is read compares equal to what was asked for.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import type { SysctlItem } from '#model/host.ts';

/** Undefined when the kernel does not have it (a link that is gone, a module that is not loaded). */
export function readSysctl(key: string): SysctlItem | undefined {
  try {
    const value = readFileSync(`/proc/sys/${key}`, 'utf8').trim().replaceAll(/\s+/g, ' ');
    return { kind: 'sysctl', key, value };
  } catch {
    return undefined;
  }
}

/** Throws Node's system error (ENOENT, EROFS, EINVAL). */
export function writeSysctl(item: SysctlItem): void {
  writeFileSync(`/proc/sys/${item.key}`, item.value);
}
