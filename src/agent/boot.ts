/** What tells this boot and this process from others. */
import { readFileSync } from 'node:fs';

/** The kernel's random id of this boot (/proc/sys/kernel/random/boot_id). */
export function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}
