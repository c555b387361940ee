/**
 * Debian's own kernels for the virtual machine, without installing them: the package is downloaded by apt, unpacked
 * into a cache (TARTAN_VM_CACHE, else ~/.cache/tartan/vm) and stays there. What is in the cache is whole: a directory
 * gets its name only after everything is in it. Remove the cache to take newer kernels.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** 6.1 is Debian 12's; 6.12 is Debian 13's, which bookworm-security offers to Debian 12 too. */
export type Series = '6.1' | '6.12';

export type GuestKernel = {
  /** `uname -r` of the guest. */
  readonly release: string;
  /** The bootable image. */
  readonly image: string;
  /** Directory that holds `lib/modules/RELEASE`, for `modprobe -d`. */
  readonly root: string;
};

/** Tells a person what takes long. */
export type Tell = (line: string) => void;

/** Package names without suffix: `-cloud` lacks 9p (no CONFIG_NET_9P), `-rt` is slower, `-unsigned` is the same. */
const PACKAGES: Readonly<Record<Series, RegExp>> = {
  '6.1': /^linux-image-(6\.1\.0-\d+-amd64)$/,
  '6.12': /^linux-image-(6\.12\.\d+(?:\+\w+)?-amd64)$/,
};

export function cacheDirectory(): string {
  const { TARTAN_VM_CACHE, XDG_CACHE_HOME } = process.env;
  return TARTAN_VM_CACHE ?? join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'tartan/vm');
}

/** The newest kernel of a series that is cached; else it is fetched. Throws, saying why, where it cannot be had. */
export async function provideKernel(series: Series, tell: Tell): Promise<GuestKernel> {
  const cache = cacheDirectory();
  mkdirSync(cache, { recursive: true });
  const cached = newest(
    series,
    readdirSync(cache).map((name) => `linux-image-${name}`),
  );
  return kernelAt(cache, cached ?? (await fetchKernel(series, cache, tell)));
}

function kernelAt(cache: string, release: string): GuestKernel {
  const root = join(cache, release);
  return { release, root, image: join(root, 'boot', `vmlinuz-${release}`) };
}

function newest(series: Series, packages: readonly string[]): string | undefined {
  return packages
    .flatMap((name) => PACKAGES[series].exec(name)?.[1] ?? [])
    .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
    .at(-1);
}

async function listed(series: Series): Promise<string | undefined> {
  const { stdout } = await run('apt-cache', ['pkgnames', `linux-image-${series}.`]);
  return newest(series, stdout.split('\n'));
}

/** Answers the release. Lists that are missing or too old (a security update replaced the package) are refreshed once. */
async function fetchKernel(series: Series, cache: string, tell: Tell): Promise<string> {
  const work = mkdtempSync(join(cache, 'fetch-'));
  try {
    try {
      return await download(series, work, tell).then((release) => keep(cache, work, release));
    } catch (problem) {
      tell(`refreshing apt's package lists (${firstLine(problem)})`);
      await run('apt-get', ['update', '-q']);
    }
    return await download(series, work, tell).then((release) => keep(cache, work, release));
  } catch (problem) {
    throw new Error(`Debian's Linux ${series} cannot be had: ${firstLine(problem)}`, { cause: problem });
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function firstLine(problem: unknown): string {
  const { stderr, message } = problem as { stderr?: string; message: string };
  const lines = `${stderr ?? ''}\n${message}`.split('\n').filter((line) => line.trim() !== '');
  return (lines.find((line) => line.startsWith('E:')) ?? lines[0] ?? 'unknown').trim();
}

async function download(series: Series, work: string, tell: Tell): Promise<string> {
  const release = await listed(series);
  if (release === undefined) throw new Error(`apt knows no linux-image-${series}.*-amd64`);
  tell(`downloading linux-image-${release}`);
  await run('apt-get', ['download', '-q', '-o', 'APT::Sandbox::User=root', `linux-image-${release}`], {
    cwd: work,
  });
  return release;
}

/** Unpacks the package that stands in `work` and gives it its place in the cache. */
async function keep(cache: string, work: string, release: string): Promise<string> {
  const deb = readdirSync(work).find((name) => name.endsWith('.deb')) ?? '';
  const tree = join(work, 'tree');
  await run('dpkg', ['-x', join(work, deb), tree]);
  // Debian 13 ships modules in /usr/lib, where depmod and modprobe do not look.
  if (!existsSync(join(tree, 'lib'))) symlinkSync('usr/lib', join(tree, 'lib'));
  await run('depmod', ['-b', tree, release]);
  const place = join(cache, release);
  // Another run may have been faster; what it put there is the same.
  if (!existsSync(place)) renameSync(tree, place);
  return release;
}
