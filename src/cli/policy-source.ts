/**
 * What `tartan policy` works on: the inputs that the agent tells of itself, or files: manifests, and a store's directory
 * with what agents wrote of their pods and nodes.
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { z } from 'zod';
import { Fault, type Problem } from '#model/fault.ts';
import { type Manifest, readManifests } from '#model/manifest.ts';
import type { PolicySnapshot } from '#model/policy-snapshot.ts';
import { type Address, parseAddress } from '#net/address.ts';
import { LearnedNames } from '#policy/dns/names.ts';
import { canonicalName } from '#policy/frontends/cluster-policy.ts';
import { createInputs, type PolicyInputs, type PolicyView } from '#policy/inputs/inputs.ts';
import { manifestName } from '#policy/inputs/reading.ts';
import { restore } from '#policy/inputs/snapshot.ts';
import { type Client, connectAgent } from './client.ts';
import { configOf, withConfig } from './options.ts';
import { runDirectory } from './settings-file.ts';

export type Options = Record<string, unknown>;

export type Source = {
  readonly snapshot: PolicySnapshot;
  /** Agents that can be asked; none offline. */
  readonly clients: readonly Client[];
};

export function withSource(command: Command): Command {
  return withConfig(command)
    .option('--run <directory...>', 'run directories of agents on this host (default: from --config)')
    .option('--from <path...>', 'without an agent: files and directories of manifests, or a store')
    .option('--name <name=address...>', 'an address that a DNS name stands for, with --from');
}

/** Objects that cannot be read are told on standard error, and the rest goes on, as in the agent. */
export async function readSource(options: Options): Promise<Source> {
  const paths = listOption(options, 'from');
  if (paths.length > 0) {
    const { inputs, problems } = readFiles(paths);
    warn([...problems, ...inputs.view().problems, ...tellNames(inputs, listOption(options, 'name'))]);
    return { snapshot: inputs.snapshot(), clients: [] };
  }
  const runs = listOption(options, 'run');
  const clients = (runs.length > 0 ? runs : [runDirectory(configOf(options))]).map(connectAgent);
  const [first] = clients;
  if (first === undefined) throw new Error('no run directory');
  const snapshot = await first.call('policySnapshot');
  warn(restore(snapshot).view().problems);
  return { snapshot, clients };
}

export function viewOf({ snapshot }: Source): PolicyView {
  return restore(snapshot).view();
}

export function warn(problems: readonly Problem[]): void {
  for (const { path, message } of problems) console.error(`warning: ${path}: ${message}`);
}

export function listOption(options: Options, name: string): readonly string[] {
  const value = options[name];
  return Array.isArray(value) ? value.map(String) : [];
}

export type ReadFiles = { readonly inputs: PolicyInputs; readonly problems: readonly Problem[] };

/** Throws Fault `io` when a path cannot be read at all. */
export function readFiles(paths: readonly string[]): ReadFiles {
  const inputs = createInputs({ node: '' });
  const problems: Problem[] = [];
  const first = new Map<string, Manifest>();
  for (const [source, text] of readTexts(paths)) {
    const read = readManifests(source, text);
    problems.push(...read.problems);
    for (const manifest of read.manifests) {
      const state = takeState(inputs, manifest);
      problems.push(...(state ?? []));
      if (state !== undefined) continue;
      const name = manifestName(manifest);
      const other = first.get(name);
      if (other === undefined) inputs.setManifest(name, manifest);
      else problems.push({ path: source, message: `${name} is also in ${other.source}` });
      first.set(name, other ?? manifest);
    }
  }
  return { inputs, problems };
}

const address = z.string().refine((text): text is Address => parseAddress(text) !== undefined);
const perFamily = z.object({ 4: address.optional(), 6: address.optional() });
const labels = z.record(z.string(), z.string());
const pod = z.object({ namespace: z.string(), name: z.string(), addresses: z.array(address), labels });
const metadata = z.object({ name: z.string() });
/** Of what agents write, as much as matters here. */
const stateSchema = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('Workloads'),
    metadata,
    spec: z.object({ node: z.string(), pods: z.array(pod) }),
  }),
  z.object({
    kind: z.literal('Node'),
    metadata,
    spec: z.object({ addresses: perFamily, inside: perFamily.default({}) }),
  }),
]);

/** Objects of ours, which say nothing as manifests: undefined for others, else what is wrong. */
function takeState(inputs: PolicyInputs, { source, value }: Manifest): readonly Problem[] | undefined {
  const { apiVersion, kind } = (value ?? {}) as { readonly apiVersion?: unknown; readonly kind?: unknown };
  if (typeof apiVersion !== 'string' || !apiVersion.startsWith('tartan.dev/')) return undefined;
  if (kind !== 'Workloads' && kind !== 'Node') return [];
  const read = stateSchema.safeParse(value);
  if (!read.success) return [{ path: source, message: `is no ${kind} as agents write them` }];
  const { name } = read.data.metadata;
  if (read.data.kind === 'Workloads') inputs.setWorkloads(name, read.data.spec);
  else {
    const { addresses, inside } = read.data.spec;
    const all = [addresses[4], addresses[6], inside[4], inside[6]].filter((each) => each !== undefined);
    inputs.setNode(name, all);
  }
  return [];
}

/** Of names nobody knows anything here but what is given. */
function tellNames(inputs: PolicyInputs, given: readonly string[]): Problem[] {
  const { names } = inputs.naming();
  const known = new LearnedNames({ minimumMs: 0 });
  known.want(names);
  for (const text of given) {
    const [name = '', value = ''] = text.split(/=(.*)/s);
    const address = parseAddress(value);
    if (address === undefined)
      throw new Fault(
        'request-invalid',
        `--name ${text}: must be a name and an address, a.example.org=192.0.2.1`,
      );
    known.learn({ name: canonicalName(name), addresses: [{ address, ttlSeconds: 0 }] }, 0);
  }
  inputs.setNames(known.view());
  const unknown = [...names].filter((each) => !known.view().has(each));
  return unknown.length === 0
    ? []
    : [
        {
          path: unknown.join(', '),
          message: 'only agents know what DNS names stand for: say it with --name',
        },
      ];
}

/** `-` is standard input; of directories all YAML and JSON files, those of a store among them. */
export function readTexts(paths: readonly string[]): Map<string, string> {
  const files = paths.flatMap((path) => (path === '-' ? [path] : listFiles(path)));
  return new Map(
    files.map((file) => {
      try {
        return [file === '-' ? 'stdin' : file, readFileSync(file === '-' ? 0 : file, 'utf8')] as const;
      } catch (cause) {
        throw unreadable(file, cause);
      }
    }),
  );
}

function listFiles(path: string): string[] {
  try {
    if (!statSync(path).isDirectory()) return [path];
    const entries = readdirSync(path, { recursive: true, encoding: 'utf8' }).sort();
    return entries
      .filter((name) => /\.(?:ya?ml|json)$/.test(name) && !/(?:^|\/)\./.test(name))
      .map((name) => join(path, name))
      .filter((file) => existsSync(file) && statSync(file).isFile());
  } catch (cause) {
    throw unreadable(path, cause);
  }
}

function unreadable(path: string, cause: unknown): Fault {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new Fault('request-invalid', `cannot read ${path}: ${why}`, { cause });
}
