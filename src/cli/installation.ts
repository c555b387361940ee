/**
 * Puts the CNI executable and its configuration on a host, and takes them away again. Each file appears whole or not at
 * all (temporary file, fsync, rename); the configuration list comes last and goes first, so a runtime that sees it
 * finds everything else in place.
 */
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { CONFLIST_FILE } from '#api/admin.ts';
import { PLUGIN_TYPE, renderConflist } from '#cni/conflist.ts';
import { Fault } from '#model/fault.ts';
import {
  namedLinks,
  NETWORK_MANAGER_FILE,
  NETWORKD_FILE,
  renderNetworkd,
  renderNetworkManager,
} from '#model/neighbours.ts';
import type { Settings } from '#model/settings.ts';

const LOOPBACK = 'loopback';

export type InstallReport = { readonly written: string[]; readonly kept: string[] };
export type UninstallReport = { readonly removed: string[]; readonly kept: string[] };

/** Where the executable's bytes come from when nothing else is said: beside the bundle. */
export function builtExecutable(): string {
  const beside = join(import.meta.dirname, PLUGIN_TYPE);
  return existsSync(beside) ? beside : join(import.meta.dirname, '../../dist', PLUGIN_TYPE);
}

/** What programs that manage links are told, below `paths.etc`; only programs whose directory is there. */
function neighbours(
  settings: Pick<Settings, 'paths' | 'wiring'>,
  isBridge: (name: string) => boolean,
): { path: string; text: string }[] {
  const { etc } = settings.paths;
  const files = [
    [NETWORK_MANAGER_FILE, renderNetworkManager],
    [NETWORKD_FILE, renderNetworkd],
  ] as const;
  return files
    .filter(([file]) => existsSync(join(etc, firstOf(file))))
    .map(([file, render]) => {
      const path = join(etc, file);
      const before = existsSync(path) ? namedLinks(readFileSync(path, 'utf8')) : [];
      return { path, text: render(settings, before.filter(isBridge)) };
    });
}

const firstOf = (path: string): string => path.split('/')[0] ?? '';
const isBridgeHere = (name: string): boolean => existsSync(`/sys/class/net/${name}/bridge`);

/** `executable`: the built tartan-cni. A `loopback` plugin that is already there and not ours is kept. */
export function install(
  settings: Pick<Settings, 'network' | 'paths' | 'wiring'>,
  executable: string,
  isBridge = isBridgeHere,
): InstallReport {
  const { cniBin, cniConf, run } = settings.paths;
  const bytes = readExecutable(executable);
  const report: InstallReport = { written: [], kept: [] };
  for (const name of [PLUGIN_TYPE, LOOPBACK]) {
    const path = join(cniBin, name);
    if (isForeign(path)) {
      report.kept.push(path);
      continue;
    }
    writeAtomically(`${path}.socket`, `${join(run, 'cni.sock')}\n`, 0o644);
    writeAtomically(path, bytes, 0o755);
    report.written.push(path, `${path}.socket`);
  }
  for (const { path, text } of neighbours(settings, isBridge)) {
    writeAtomically(path, text, 0o644);
    report.written.push(path);
  }
  const list = join(cniConf, CONFLIST_FILE);
  writeAtomically(list, renderConflist(settings), 0o644);
  report.written.push(list);
  return report;
}

/** Removes exactly what `install` wrote; what is not there is fine. */
export function uninstall(settings: Pick<Settings, 'paths'>): UninstallReport {
  const { cniBin, cniConf, etc } = settings.paths;
  const report: UninstallReport = { removed: [], kept: [] };
  const remove = (path: string): void => {
    if (!existsSync(path)) return;
    rmSync(path);
    report.removed.push(path);
  };
  remove(join(cniConf, CONFLIST_FILE));
  for (const file of [NETWORK_MANAGER_FILE, NETWORKD_FILE]) remove(join(etc, file));
  for (const name of [PLUGIN_TYPE, LOOPBACK]) {
    const path = join(cniBin, name);
    if (isForeign(path)) {
      report.kept.push(path);
      continue;
    }
    remove(path);
    remove(`${path}.socket`);
  }
  return report;
}

/** There, but without our sidecar: another provider's plugin of the same name. Only `loopback` can be that. */
function isForeign(path: string): boolean {
  return basename(path) === LOOPBACK && existsSync(path) && !existsSync(`${path}.socket`);
}

function readExecutable(path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new Fault('io', `cannot read the CNI executable ${path}; make build makes it`, { cause });
  }
}

/** Old content, then new content, never anything between, even over a power cut. */
export function writeAtomically(path: string, content: string | Uint8Array, mode: number): void {
  mkdirSync(dirname(path), { recursive: true });
  const temporary = `${path}.tmp-${process.pid}`;
  const file = openSync(temporary, 'w', mode);
  try {
    const bytes = typeof content === 'string' ? Buffer.from(content) : content;
    for (let at = 0; at < bytes.length;) at += writeSync(file, bytes, at);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(temporary, path);
  const directory = openSync(dirname(path), 'r');
  fsyncSync(directory);
  closeSync(directory);
}
