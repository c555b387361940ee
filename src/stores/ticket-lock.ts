import {
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Fault } from '#model/fault.ts';

/**
 * Mutual exclusion between processes by files, where a holder that died never has to be robbed: the lock is the file
 * with the highest number, and whoever finds it free, or its holder dead, takes the next number by link(2), which only
 * one can. Numbers only grow and the highest file stays, so a late-comer with an old view sees that it came late.
 *
 *     .lock/00000041  "free"            .lock/00000042  holder: pid, its start time, its pid namespace, boot
 */
const FREE = 'free';
/** A holder in another pid namespace cannot be looked up; it holds for milliseconds, so this is long. */
const UNKNOWN_HOLDER_MS = 30_000;
const PATIENCE_MS = 10_000;

/** Runs the action while no other process holds the lock in this directory. Throws Fault `io` after ten seconds. */
export async function withLock<T>(directory: string, action: () => T): Promise<T> {
  mkdirSync(directory, { recursive: true });
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const number = tryLock(directory);
    if (number !== undefined) {
      try {
        return action();
      } finally {
        release(directory, number);
      }
    }
    if (performance.now() > deadline) throw new Fault('io', `${directory} stays locked by another process`);
    await sleep(1 + Math.random() * 4);
  }
}

function tryLock(directory: string): number | undefined {
  const highest = highestNumber(directory);
  if (highest > 0 && !isAvailable(join(directory, fileName(highest)))) return undefined;
  const mine = highest + 1;
  const text = writeBeside(directory, identity());
  try {
    linkSync(text, join(directory, fileName(mine)));
  } catch {
    return undefined;
  } finally {
    rmSync(text, { force: true });
  }
  if (highestNumber(directory) === mine) {
    for (const number of numbers(directory)) {
      if (number < mine) rmSync(join(directory, fileName(number)), { force: true });
    }
    return mine;
  }
  rmSync(join(directory, fileName(mine)), { force: true });
  return undefined;
}

function release(directory: string, number: number): void {
  const path = join(directory, fileName(number));
  // Not there any more: the directory was removed, or somebody took the next number because we seemed dead.
  if (!numbers(directory).includes(number)) return;
  renameSync(writeBeside(directory, FREE), path);
}

let written = 0;

function writeBeside(directory: string, text: string): string {
  written += 1;
  const path = join(
    directory,
    `.${process.pid}-${readlinkSync('/proc/self/ns/pid').slice(5, -1)}-${written}`,
  );
  writeFileSync(path, text);
  return path;
}

function fileName(number: number): string {
  return String(number).padStart(8, '0');
}

function numbers(directory: string): number[] {
  try {
    return readdirSync(directory)
      .filter((name) => /^\d+$/.test(name))
      .map(Number);
  } catch {
    return [];
  }
}

function highestNumber(directory: string): number {
  return Math.max(0, ...numbers(directory));
}

function identity(pid: number = process.pid): string {
  const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  return [pid, startTime(pid), readlinkSync('/proc/self/ns/pid'), boot].join(' ');
}

/** Field 22 of /proc/PID/stat (proc(5)): clock ticks between boot and the start of the process. */
function startTime(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}

function isAvailable(path: string): boolean {
  try {
    const text = readFileSync(path, 'utf8');
    if (text === FREE) return true;
    const [pid, , namespace, boot] = text.split(' ');
    const [, , ownNamespace, ownBoot] = identity().split(' ');
    if (boot !== ownBoot) return true;
    if (namespace !== ownNamespace) return Date.now() - statSync(path).mtimeMs > UNKNOWN_HOLDER_MS;
    return text !== identity(Number(pid));
  } catch {
    // It was replaced while we looked: look again later.
    return false;
  }
}
