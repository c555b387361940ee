/** What a lab remembers between two invocations: one JSON file, replaced whole, written before what it tells of exists. */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Fault } from '#model/fault.ts';
import type { ProcessId } from './process.ts';
import type { Container } from './runtime.ts';
import { LABS_DIRECTORY, labDirectory, type LabShape } from './topology.ts';

const FORMAT = 1;

export type PodRecord = {
  readonly name: string;
  readonly node: string;
  /** Namespace's name; the pod's processes are found by it. */
  readonly netns: string;
  readonly container: Container;
  /** Without prefix lengths; empty until ADD has answered. */
  readonly addresses: readonly string[];
};

export type LabRecord = {
  readonly format: typeof FORMAT;
  readonly shape: LabShape;
  readonly profile: string;
  agents: Record<string, ProcessId>;
  /** The lab's own etcd; absent: its store is another. */
  etcd?: ProcessId;
  pods: Record<string, PodRecord>;
};

export function newRecord(shape: LabShape, profile: string): LabRecord {
  return { format: FORMAT, shape, profile, agents: {}, pods: {} };
}

export function labExists(lab: string): boolean {
  return existsSync(recordFile(lab));
}

/** Names of the labs of this host. */
export function listLabs(): string[] {
  return existsSync(LABS_DIRECTORY) ? readdirSync(LABS_DIRECTORY).sort() : [];
}

/** Throws Fault `lab-state` when there is no such lab, or its file cannot be read. */
export function readRecord(lab: string): LabRecord {
  if (!labExists(lab)) {
    const others = listLabs();
    const known = others.length === 0 ? 'none is up' : `up are: ${others.join(', ')}`;
    throw new Fault('lab-state', `there is no lab ${lab}; ${known}`);
  }
  try {
    const record = JSON.parse(readFileSync(recordFile(lab), 'utf8')) as LabRecord;
    if (record.format === FORMAT) return record;
    throw new Error(`format ${String(record.format)} is not known`);
  } catch (cause) {
    throw new Fault('lab-state', `${recordFile(lab)} cannot be read`, { cause });
  }
}

export function writeRecord(record: LabRecord): void {
  const file = recordFile(record.shape.name);
  mkdirSync(labDirectory(record.shape.name), { recursive: true, mode: 0o700 });
  writeFileSync(`${file}.tmp-${process.pid}`, `${JSON.stringify(record, undefined, 2)}\n`, { mode: 0o600 });
  renameSync(`${file}.tmp-${process.pid}`, file);
}

export function removeFiles(lab: string): void {
  rmSync(labDirectory(lab), { recursive: true, force: true });
  if (listLabs().length === 0) rmSync(LABS_DIRECTORY, { recursive: true, force: true });
}

function recordFile(lab: string): string {
  return join(labDirectory(lab), 'lab.json');
}
