import { closeSync, constants, fdatasyncSync, fstatSync, fsyncSync, ftruncateSync } from 'node:fs';
import { existsSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { crc32 } from 'node:zlib';
import { Fault, type Problem, toFault } from '#model/fault.ts';

/**
 * An append-only file of JSON records that survives being cut at any byte.
 *
 *     tartan-journal 1\n            header: format version of the records
 *     0a1b2c3d {"op":"put",…}\n     CRC-32 of the JSON text, a blank, the JSON text
 *
 * Every append is one write(2) at the end; each of its records is found whole or not at all, and none without those
 * before it. One process writes a journal.
 * All calls are synchronous: they stand on the way of a pod's start, where a promise costs more than the write.
 */
export type JournalOptions<T> = {
  /** `data`: each append is on stable storage before it returns; `none`: enough where the file is on tmpfs. */
  readonly sync: 'none' | 'data';
  /** Format version of the records, from 1. */
  readonly version: number;
  /** Makes a record of `version` out of one of `version - 1`; older and newer files are refused. */
  readonly upgrade?: (old: unknown) => T;
};

export type Journal<T> = {
  /** Records in the file. */
  readonly length: number;
  /** Throws Fault `io`; none of the records is then in the file. */
  append(...records: readonly T[]): void;
  /** Replaces all records, atomically. */
  compact(records: Iterable<T>): void;
  close(): void;
};

export type OpenedJournal<T> = {
  readonly journal: Journal<T>;
  /** What was in the file, in the order it was appended. */
  readonly records: readonly T[];
  /** Records that could not be read, each at `path:line`; they are skipped and go with the next compaction. */
  readonly problems: readonly Problem[];
};

const MAGIC = 'tartan-journal ';
const MODE = 0o600;

/**
 * Opens or creates the journal. A torn last record is cut off; a corrupt one in the middle is reported. Throws Fault
 * `io` when the file cannot be used or is of a version that cannot be read; it is then left as it is.
 */
export function openJournal<T>(path: string, options: JournalOptions<T>): OpenedJournal<T> {
  try {
    return open(path, options);
  } catch (error) {
    throw toFault(error, 'io');
  }
}

function open<T>(path: string, options: JournalOptions<T>): OpenedJournal<T> {
  const header = `${MAGIC}${options.version}\n`;
  const bytes = existsSync(path) ? readFileSync(path) : Buffer.alloc(0);
  // A first write that was cut short left nothing but a part of the header.
  const isNew = bytes.length < header.length && header.startsWith(bytes.toString('latin1'));
  if (isNew) {
    return {
      journal: new JournalFile(path, options, replaceFile(path, header), 0),
      records: [],
      problems: [],
    };
  }
  const whole = bytes.subarray(0, bytes.lastIndexOf(0x0a) + 1);
  const version = readVersion(path, whole, options);
  const read = readRecords(path, whole);
  if (version !== options.version) {
    const records = read.records.map((record) => options.upgrade?.(record) as T);
    const fd = replaceFile(path, header + records.map(encode).join(''));
    return { journal: new JournalFile(path, options, fd, records.length), records, problems: read.problems };
  }
  const fd = openSync(path, constants.O_WRONLY | constants.O_APPEND);
  if (whole.length < bytes.length) ftruncateSync(fd, whole.length);
  const records = read.records as T[];
  return { journal: new JournalFile(path, options, fd, read.lines), records, problems: read.problems };
}

function readVersion<T>(path: string, whole: Buffer, { version, upgrade }: JournalOptions<T>): number {
  const header = whole.subarray(0, whole.indexOf(0x0a)).toString('latin1');
  const found = header.startsWith(MAGIC) ? Number(header.slice(MAGIC.length)) : Number.NaN;
  if (found === version || (found === version - 1 && upgrade !== undefined)) return found;
  const what = Number.isInteger(found) ? `a journal of version ${found}` : 'no journal';
  const message = `${path} is ${what}; this program reads version ${version}${upgrade === undefined ? '' : ` and ${version - 1}`}`;
  throw new Fault('io', message);
}

function readRecords(
  path: string,
  whole: Buffer,
): { records: unknown[]; problems: Problem[]; lines: number } {
  const records: unknown[] = [];
  const problems: Problem[] = [];
  const lines = whole.toString('utf8').split('\n').slice(1, -1);
  for (const [index, line] of lines.entries()) {
    const decoded = decode(line);
    if (decoded !== undefined) records.push(decoded.record);
    else problems.push({ path: `${path}:${index + 2}`, message: 'the record is corrupt and was skipped' });
  }
  return { records, problems, lines: lines.length };
}

function encode(record: unknown): string {
  const text = JSON.stringify(record);
  return `${crc32(text).toString(16).padStart(8, '0')} ${text}\n`;
}

function decode(line: string): { readonly record: unknown } | undefined {
  const text = line.slice(9);
  if (line.slice(0, 9) !== `${crc32(text).toString(16).padStart(8, '0')} `) return undefined;
  try {
    return { record: JSON.parse(text) as unknown };
  } catch {
    return undefined;
  }
}

/** Writes the file anew beside the old one and renames it into place; the descriptor appends to it. */
function replaceFile(path: string, text: string): number {
  const beside = `${path}.new`;
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_APPEND;
  const fd = openSync(beside, flags, MODE);
  try {
    const bytes = Buffer.from(text);
    for (let done = 0; done < bytes.length;) done += writeSync(fd, bytes, done);
    fsyncSync(fd);
    renameSync(beside, path);
    syncDirectory(dirname(path));
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** A rename is durable once its directory is. */
function syncDirectory(path: string): void {
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

class JournalFile<T> implements Journal<T> {
  readonly #path: string;
  readonly #options: JournalOptions<T>;
  #fd: number;
  #size: number;
  #length: number;

  constructor(path: string, options: JournalOptions<T>, fd: number, length: number) {
    this.#path = path;
    this.#options = options;
    this.#fd = fd;
    this.#size = fstatSync(fd).size;
    this.#length = length;
  }
  get length(): number {
    return this.#length;
  }
  append(...records: readonly T[]): void {
    const bytes = Buffer.from(records.map(encode).join(''));
    try {
      const written = writeSync(this.#fd, bytes);
      if (written < bytes.length)
        throw new Error(`${this.#path}: the disk took ${written} of ${bytes.length} bytes`);
      if (this.#options.sync === 'data') fdatasyncSync(this.#fd);
    } catch (error) {
      // Whoever asked is told that it failed, so no part of it may be found later.
      ftruncateSync(this.#fd, this.#size);
      throw toFault(error, 'io');
    }
    this.#size += bytes.length;
    this.#length += records.length;
  }
  compact(records: Iterable<T>): void {
    const lines = Array.from(records, encode);
    try {
      const fd = replaceFile(this.#path, `${MAGIC}${this.#options.version}\n${lines.join('')}`);
      closeSync(this.#fd);
      this.#fd = fd;
    } catch (error) {
      throw toFault(error, 'io');
    }
    this.#size = fstatSync(this.#fd).size;
    this.#length = lines.length;
  }
  close(): void {
    closeSync(this.#fd);
  }
}
