/** Files and directories as they are now; what is not there, or cannot be read, is undefined or empty. */
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  type BigIntStats,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { setImmediate as breathe } from 'node:timers/promises';

export function inode(path: string): number | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false })?.ino;
  } catch {
    return undefined;
  }
}

export function list(directory: string): string[] {
  try {
    return readdirSync(directory).sort();
  } catch {
    return [];
  }
}

export function isDirectory(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}

/** The directory and all below it but for hidden ones. */
export function listDirectories(root: string): string[] {
  if (!isDirectory(root)) return [];
  const inner = list(root).filter((name) => !name.startsWith('.'));
  return [root, ...inner.flatMap((name) => listDirectories(join(root, name)))];
}

/** Without waiting, as a fifo has no end. */
const FLAGS = constants.O_RDONLY | constants.O_NONBLOCK;
/** What nearly every file fits into. */
const SMALL = Buffer.allocUnsafeSlow(16_384);

/** Undefined when there is no such regular file; at most one byte more than allowed is kept of a large one. */
export function readText(path: string, maxBytes: number): string | undefined {
  let fd: number | undefined;
  try {
    // At start there may be ten thousand files: of a small one nothing else is asked.
    fd = openSync(path, FLAGS);
    const begun = readSync(fd, SMALL, 0, SMALL.length, 0);
    if (begun > 0 && begun < SMALL.length && begun <= maxBytes) return SMALL.toString('utf8', 0, begun);
    const stat = fstatSync(fd);
    if (!stat.isFile()) return undefined;
    if (stat.size > maxBytes) return ' '.repeat(maxBytes + 1);
    const text = Buffer.allocUnsafe(stat.size);
    return text.toString('utf8', 0, fill(fd, text, 0, stat.size));
  } catch {
    return undefined;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** What is written to the file meanwhile is told by another event. */
function fill(fd: number, bytes: Buffer, from: number, to: number): number {
  let done = from;
  for (let read = -1; read !== 0 && done < to; done += read)
    read = readSync(fd, bytes, done, to - done, null);
  return done;
}

/** What tells one state of a regular file from another without reading it. */
export type Stamp = {
  readonly text: string;
  readonly inode: bigint;
  readonly size: number;
  readonly mtimeMs: number;
};

export function stampOf(path: string): Stamp | undefined {
  try {
    const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
    return stat?.isFile() === true ? toStamp(stat) : undefined;
  } catch {
    return undefined;
  }
}

function toStamp({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): Stamp {
  const text = `${dev} ${ino} ${size} ${mtimeNs} ${ctimeNs}`;
  return { text, inode: ino, size: Number(size), mtimeMs: Number(mtimeNs / 1_000_000n) };
}

/** Read between two turns of the event loop. */
const CHUNK_BYTES = 4 << 20;

/** The bytes of a file in exactly this state; undefined when it is in another by now. */
export async function readBytes(path: string, stamp: Stamp): Promise<Buffer | undefined> {
  let fd: number | undefined;
  try {
    fd = openSync(path, FLAGS);
    const bytes = Buffer.allocUnsafe(stamp.size);
    for (let done = 0; done < stamp.size;) {
      const next = Math.min(done + CHUNK_BYTES, stamp.size);
      if (fill(fd, bytes, done, next) < next) return undefined;
      if ((done = next) < stamp.size) await breathe();
    }
    return toStamp(fstatSync(fd, { bigint: true })).text === stamp.text ? bytes : undefined;
  } catch {
    return undefined;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** Whole and durable, or not at all. */
export function replaceFile(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  const beside = join(dirname(path), `.new-${process.pid}`);
  const file = openSync(beside, 'w', 0o644);
  try {
    const bytes = Buffer.from(text);
    for (let done = 0; done < bytes.length;) done += writeSync(file, bytes, done);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(beside, path);
  const directory = openSync(dirname(path), 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}
