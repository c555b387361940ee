/**
 * One virtual machine for one command. QEMU boots a Debian kernel whose root is this host's, read-only over 9p and under a
 * file system in memory, so the command finds every file at its path and changes none. It has no network card. QEMU
 * translates (TCG), which is 6 to 30 times slower than the host; TARTAN_VM_KVM=1 takes KVM.
 */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { provideInitramfs } from './initramfs.ts';
import type { GuestKernel } from './kernel.ts';

export type Job = {
  readonly argv: readonly string[];
  /** Where it runs; default: the repository. */
  readonly directory?: string;
  readonly environment?: Readonly<Record<string, string>>;
  /** Kernel modules to load before; most load themselves when they are asked for. */
  readonly modules?: readonly string[];
};

export type MachineOptions = {
  readonly processors?: number;
  readonly memoryMegabytes?: number;
  /** The machine is killed then, which is an error. */
  readonly timeoutMs?: number;
  /** Called with every line of the command's output as it comes. */
  readonly onLine?: (line: string) => void;
};

export type Outcome = {
  /** The command's exit code. */
  readonly code: number;
  /** Everything that it wrote to stdout and stderr. */
  readonly output: string;
};

const ROOT = join(import.meta.dirname, '../..');
const QEMU = 'qemu-system-x86_64';
const PROGRAMS = [QEMU, 'apt-get', 'busybox', 'cpio', 'depmod', 'dpkg', 'setpriv', 'xz'];

/** Why no machine can be had here whatever the network says, or undefined. */
export function whyNoMachine(): string | undefined {
  if (process.env['TARTAN_VM'] !== undefined) return 'this is a virtual machine of the tests already';
  if (process.arch !== 'x64') return `the guest kernels are for x86-64, this machine is ${process.arch}`;
  const missing = PROGRAMS.filter((program) => !isInstalled(program));
  return missing.length === 0
    ? undefined
    : `needs ${missing.join(', ')} (make deps installs scripts/packages.txt)`;
}

function isInstalled(program: string): boolean {
  try {
    execFileSync('sh', ['-c', `PATH=$PATH:/usr/sbin:/sbin command -v ${program}`], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** Boots, runs the command to its end, and ends the machine. Throws when there was no end: a panic, a hang, no boot. */
export async function runInMachine(
  kernel: GuestKernel,
  job: Job,
  options: MachineOptions = {},
): Promise<Outcome> {
  const directory = mkdtempSync(join(tmpdir(), 'tartan-vm-'));
  const at = (name: string): string => join(directory, name);
  try {
    writeFileSync(at('job'), describeJob(kernel, job));
    const argv = [...machineWords(options), ...bootWords(kernel, at('job')), ...portWords(at)];
    const { output, problem } = await execute(argv, options);
    const code = existsSync(at('code')) ? readFileSync(at('code'), 'utf8').trim() : '';
    if (code === '') throw new Error(`${problem}\n${tail(at('console'))}\n${output.slice(-2000)}`);
    return { code: Number(code), output };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

const quote = (word: string): string => `'${word.replaceAll("'", String.raw`'\''`)}'`;

function describeJob(kernel: GuestKernel, job: Job): string {
  const variables = Object.entries(job.environment ?? {});
  return [
    `MODULES_ROOT=${quote(kernel.root)}`,
    `MODULES=${quote((job.modules ?? []).join(' '))}`,
    `. ${quote(join(import.meta.dirname, 'guest/enter.sh'))}`,
    ...variables.map(([name, value]) => `export ${name}=${quote(value)}`),
    `cd ${quote(job.directory ?? ROOT)}`,
    `run ${job.argv.map(quote).join(' ')}`,
    '',
  ].join('\n');
}

/** Words of a command line; no value in it has a space. */
const words = (text: string): string[] => text.trim().split(/\s+/);

function machineWords({ processors = 2, memoryMegabytes = 2048 }: MachineOptions): string[] {
  return words(`
    -machine q35 -accel ${accelerator()} -cpu max -smp ${processors} -m ${memoryMegabytes}
    -display none -nodefaults -no-reboot -device virtio-rng-pci`);
}

/** A /dev/kvm that opens may still hang the guest (nested virtualization), so KVM is used only where it is asked for. */
function accelerator(): string {
  return process.env['TARTAN_VM_KVM'] === undefined ? 'tcg' : 'kvm';
}

function bootWords(kernel: GuestKernel, job: string): string[] {
  // A panic reboots at once, and -no-reboot makes that the end.
  const line = `console=ttyS0 quiet panic=-1 mitigations=off nokaslr tsc=reliable job=${job}`;
  const root = 'local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap';
  return ['-kernel', kernel.image, '-initrd', provideInitramfs(kernel), '-append', line, '-virtfs', root];
}

/** Console to a file; two ports (guest/enter.sh): the command's output to our pipe, its exit code to a file. */
function portWords(at: (name: string) => string): string[] {
  return words(`
    -chardev file,id=console,path=${at('console')} -serial chardev:console -device virtio-serial-pci
    -chardev stdio,id=output,signal=off -device virtserialport,chardev=output,nr=1
    -chardev file,id=code,path=${at('code')} -device virtserialport,chardev=code,nr=2`);
}

/** Runs QEMU to its end; it ends with this process too, however that ends. */
async function execute(
  argv: readonly string[],
  { timeoutMs = 900_000, onLine }: MachineOptions,
): Promise<{ output: string; problem: string }> {
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', QEMU, ...argv], {
    // The guest's writes wait once QEMU's standard input has ended: it stays open, and nobody writes to it.
    stdio: ['pipe', 'pipe', 'pipe'],
    signal: AbortSignal.timeout(timeoutMs),
    killSignal: 'SIGKILL',
  });
  const end = new Promise<string>((resolve) => {
    child.on('error', (error) =>
      resolve(error.name === 'AbortError' ? `no end within ${timeoutMs} ms` : error.message),
    );
    child.on('close', (code) => resolve(`the machine ended without an exit code (QEMU: ${code})`));
  });
  const [output, complaints, problem] = await Promise.all([
    collect(child.stdout, onLine),
    collect(child.stderr),
    end,
  ]);
  return { output, problem: `${problem}\n${complaints}`.trim() };
}

async function collect(stream: Readable, onLine?: (line: string) => void): Promise<string> {
  let text = '';
  let rest = '';
  stream.setEncoding('utf8');
  for await (const chunk of stream) {
    text += String(chunk);
    const lines = (rest + String(chunk)).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) onLine?.(line);
  }
  if (rest !== '') onLine?.(rest);
  return text;
}

function tail(file: string): string {
  return existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(-30).join('\n') : '';
}
