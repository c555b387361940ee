/** What a node remembers of itself across reboots: its subnets. Written atomically and fsynced (state/node.json). */
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Family } from '#net/address.ts';
import { type PerFamily, perFamily } from '#net/per-family.ts';
import { parsePrefix, type Prefix } from '#net/prefix.ts';

const FORMAT = 1;

/** The subnets held last, or nothing when the file is missing or unreadable (then a lease is taken anew). */
export function readNodeFile(stateDirectory: string): PerFamily<Prefix> {
  try {
    const content: unknown = JSON.parse(readFileSync(join(stateDirectory, 'node.json'), 'utf8'));
    const { format, subnets } = content as { format?: number; subnets?: Record<Family, string> };
    if (format !== FORMAT || subnets === undefined) return {};
    return perFamily((family) => parsePrefix(subnets[family] ?? ''));
  } catch {
    return {};
  }
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
