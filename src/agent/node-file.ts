/** What a node remembers of itself across reboots: its subnets. Written atomically and fsynced (state/node.json). */
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Family } from '#net/address.ts';
import { type PerFamily, perFamily } from '#net/per-family.ts';
import { parsePrefix, type Prefix } from '#net/prefix.ts';
import { Fault } from '#model/fault.ts';

const FORMAT = 1;

/**
 * The subnets held last, or nothing when the file is missing or unreadable (then a lease is taken anew). Throws as
 * readStateFile.
 */
export function readNodeFile(stateDirectory: string): PerFamily<Prefix> {
  const content = readStateFile(join(stateDirectory, 'node.json'), FORMAT);
  const subnets = (content?.['subnets'] ?? {}) as Partial<Record<Family, string>>;
  return perFamily((family) => parsePrefix(subnets[family] ?? ''));
}

/**
 * What a file of the state directory holds; undefined when it is missing or no JSON object. Throws Fault `io` when it is of
 * another format, which a later release wrote: to go on would mean to write over what only that release understands.
 */
export function readStateFile(path: string, format: number): Record<string, unknown> | undefined {
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
  if (typeof content !== 'object' || content === null) return undefined;
  const found = (content as { format?: unknown }).format;
  if (found === format) return content as Record<string, unknown>;
  throw new Fault('io', `${path} is of format ${JSON.stringify(found)}; this program reads ${format}`);
}

export function writeNodeFile(stateDirectory: string, subnets: PerFamily<Prefix>): void {
  writeFileDurably(join(stateDirectory, 'node.json'), `${JSON.stringify({ format: FORMAT, subnets })}\n`);
}

/** Temporary file, fsync, rename, fsync of the directory: after a power cut the old or the new content is there. */
export function writeFileDurably(path: string, content: string, mode = 0o600): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const temporary = `${path}.tmp-${process.pid}`;
  const file = openSync(temporary, 'w', mode);
  try {
    writeSync(file, content);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(temporary, path);
  const directory = openSync(dirname(path), 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}
