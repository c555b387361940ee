/**
 * The first file system of the virtual machine: busybox, guest/init and the modules that mount the real root. Made once
 * per kernel and version of guest/init, beside the kernel in the cache.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import type { GuestKernel } from './kernel.ts';

const INIT = join(import.meta.dirname, 'guest/init');
const MODULES = ['virtio_pci', 'virtio_rng', 'virtio_console', '9pnet_virtio', '9p', 'overlay'];

/** Path of the archive for a kernel. Needs cpio, kmod, xz and a static busybox. */
export function provideInitramfs(kernel: GuestKernel): string {
  const version = createHash('sha256').update(readFileSync(INIT)).update(MODULES.join()).digest('hex');
  const archive = join(kernel.root, `initramfs-${version.slice(0, 12)}.cpio`);
  if (existsSync(archive)) return archive;
  const tree = mkdtempSync(join(kernel.root, 'initramfs-'));
  try {
    fill(tree, kernel);
    const input = globSync('**', { cwd: tree }).join('\n');
    const content = execFileSync('cpio', ['--create', '--format=newc', '--quiet', '--owner=0:0'], {
      cwd: tree,
      input,
      maxBuffer: 1 << 28,
    });
    writeFileSync(`${tree}.new`, content);
    renameSync(`${tree}.new`, archive);
    return archive;
  } finally {
    rmSync(tree, { recursive: true, force: true });
  }
}

function fill(tree: string, kernel: GuestKernel): void {
  for (const name of ['bin', 'dev', 'proc', 'sys', 'lower', 'upper', 'root', 'modules'])
    mkdirSync(join(tree, name));
  copyFileSync('/bin/busybox', join(tree, 'bin/busybox'));
  copyFileSync(INIT, join(tree, 'init'));
  chmodSync(join(tree, 'init'), 0o755);
  for (const [index, file] of moduleFiles(kernel).entries()) {
    const name = `${String(index).padStart(2, '0')}-${basename(file, '.xz')}`;
    writeFileSync(join(tree, 'modules', name), unpack(file));
  }
}

/** Files of MODULES and what they need, in the order of loading; what is built into the kernel has none. */
function moduleFiles({ root, release }: GuestKernel): string[] {
  const words = ['--dirname', root, '--set-version', release, '--show-depends'];
  const lines = MODULES.flatMap((name) =>
    execFileSync('modprobe', [...words, name], { encoding: 'utf8' }).split('\n'),
  );
  const files = lines.flatMap((line) => /^insmod (\S+)/.exec(line)?.[1] ?? []);
  return [...new Set(files)];
}

/** busybox's insmod reads no xz. */
function unpack(file: string): Buffer {
  if (!file.endsWith('.xz')) return readFileSync(file);
  return execFileSync('xz', ['--decompress', '--stdout', file], { maxBuffer: 1 << 28 });
}
