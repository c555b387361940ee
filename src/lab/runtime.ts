/**
 * A container runtime's side of the CNI, by the rules of libcni: the first configuration list of the directory, the
 * plugins of a chain one after the other by exec, each with the result of the one before; DEL backwards with the cached
 * result of ADD. Loopback is a network of its own, as containerd does it.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Fault } from '#model/fault.ts';
import { inNetns, run } from './process.ts';

export type Plugin = { readonly type: string; readonly capabilities?: Readonly<Record<string, boolean>> };
export type ConfigList = {
  readonly name: string;
  readonly cniVersion: string;
  readonly cniVersions?: readonly string[];
  readonly plugins: readonly Plugin[];
};

export type Container = {
  readonly containerId: string;
  /** Path of its namespace; empty when it is gone (DEL only). */
  readonly netns: string;
  readonly ifname: string;
  readonly args: string;
  /** By capability; only what a plugin declares is handed to it. */
  readonly runtimeConfig: Readonly<Record<string, unknown>>;
  /** Of the pod, handed over as `args.cni.labels` (CNI CONVENTIONS.md). */
  readonly labels?: Readonly<Record<string, string>>;
};

export type CniResult = {
  readonly cniVersion?: string;
  readonly interfaces?: readonly { readonly name: string; readonly sandbox?: string }[];
  readonly ips?: readonly { readonly address: string; readonly interface?: number }[];
};

/** Where a node's runtime finds plugins and lists, and keeps results. */
export type RuntimePaths = {
  readonly netns: string;
  readonly bin: string;
  readonly conf: string;
  readonly cache: string;
};

const KNOWN = ['0.3.1', '0.4.0', '1.0.0', '1.1.0'];
const LOOPBACK: ConfigList = { name: 'cni-loopback', cniVersion: '1.0.0', plugins: [{ type: 'loopback' }] };

/** Attaches loopback, then the node's network. Throws Fault `delegate` with the plugin's own words. */
export async function attach(paths: RuntimePaths, container: Container): Promise<CniResult> {
  await addList(paths, LOOPBACK, { ...container, ifname: 'lo' });
  return addList(paths, readList(paths.conf), container);
}

export async function detach(paths: RuntimePaths, container: Container): Promise<void> {
  await deleteList(paths, readList(paths.conf), container);
  await deleteList(paths, LOOPBACK, { ...container, ifname: 'lo' });
}

/** CHECK of every plugin of the node's network. */
export async function check(paths: RuntimePaths, container: Container): Promise<void> {
  const list = readList(paths.conf);
  const prevResult = readCache(paths, list, container);
  for (const plugin of list.plugins) await execute(paths, 'CHECK', container, { list, plugin, prevResult });
}

/** The first list by name, as containerd picks it. */
export function readList(directory: string): ConfigList {
  const name = readdirSync(directory)
    .filter((file) => file.endsWith('.conflist'))
    .sort()[0];
  if (name === undefined) throw new Fault('lab-state', `no CNI configuration list in ${directory}`);
  return JSON.parse(readFileSync(join(directory, name), 'utf8')) as ConfigList;
}

async function addList(paths: RuntimePaths, list: ConfigList, container: Container): Promise<CniResult> {
  let prevResult: CniResult | undefined;
  for (const plugin of list.plugins) {
    prevResult = await execute(paths, 'ADD', container, { list, plugin, prevResult });
  }
  mkdirSync(paths.cache, { recursive: true, mode: 0o700 });
  writeFileSync(cacheFile(paths, list, container), JSON.stringify(prevResult), { mode: 0o600 });
  return prevResult ?? {};
}

async function deleteList(paths: RuntimePaths, list: ConfigList, container: Container): Promise<void> {
  const prevResult = readCache(paths, list, container);
  for (const plugin of list.plugins.toReversed()) {
    await execute(paths, 'DEL', container, { list, plugin, prevResult });
  }
  rmSync(cacheFile(paths, list, container), { force: true });
}

type Call = {
  readonly list: ConfigList;
  readonly plugin: Plugin;
  readonly prevResult: CniResult | undefined;
};

async function execute(
  paths: RuntimePaths,
  verb: 'ADD' | 'DEL' | 'CHECK',
  container: Container,
  call: Call,
): Promise<CniResult | undefined> {
  const env = {
    PATH: process.env['PATH'] ?? '/usr/sbin:/usr/bin',
    CNI_COMMAND: verb,
    CNI_CONTAINERID: container.containerId,
    CNI_NETNS: container.netns,
    CNI_IFNAME: container.ifname,
    CNI_ARGS: container.args,
    CNI_PATH: paths.bin,
  };
  const input = JSON.stringify(executionConfig(call, container));
  const words = inNetns(paths.netns, [join(paths.bin, call.plugin.type)]);
  const { code, stdout, stderr } = await run(words, { env, input });
  if (code !== 0) throw pluginFault(verb, call.plugin.type, stdout || stderr);
  return verb === 'ADD' ? (JSON.parse(stdout) as CniResult) : undefined;
}

/** CNI spec 1.1.0, section 3, "Deriving execution configuration from plugin configuration". */
export function executionConfig(call: Call, container: Pick<Container, 'runtimeConfig' | 'labels'>): object {
  const { capabilities = {}, ...plugin } = call.plugin;
  const runtimeConfig = Object.fromEntries(
    Object.entries(container.runtimeConfig).filter(([name]) => capabilities[name] === true),
  );
  return {
    ...plugin,
    name: call.list.name,
    cniVersion: highestVersion(call.list),
    ...(Object.keys(runtimeConfig).length > 0 && { runtimeConfig }),
    ...(container.labels !== undefined && { args: { cni: { labels: labelPairs(container.labels) } } }),
    ...(call.prevResult !== undefined && { prevResult: call.prevResult }),
  };
}

function labelPairs(labels: Readonly<Record<string, string>>): object[] {
  return Object.entries(labels).map(([key, value]) => ({ key, value }));
}

function highestVersion(list: ConfigList): string {
  const offered = new Set([list.cniVersion, ...(list.cniVersions ?? [])]);
  return KNOWN.findLast((version) => offered.has(version)) ?? list.cniVersion;
}

function pluginFault(verb: string, type: string, output: string): Fault {
  try {
    const error = JSON.parse(output) as { code: number; msg: string; details?: string };
    const details = error.details === undefined || error.details === '' ? '' : `: ${error.details}`;
    return new Fault('delegate', `${type} ${verb} failed (${error.code}): ${error.msg}${details}`);
  } catch {
    return new Fault('delegate', `${type} ${verb} failed: ${output.trim()}`);
  }
}

function cacheFile(paths: RuntimePaths, list: ConfigList, container: Container): string {
  return join(paths.cache, `${list.name}-${container.containerId}-${container.ifname}`);
}

function readCache(paths: RuntimePaths, list: ConfigList, container: Container): CniResult | undefined {
  const file = cacheFile(paths, list, container);
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as CniResult) : undefined;
}
