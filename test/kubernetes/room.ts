/**
 * A machine, as far as one is needed: a network namespace, processes of its own (PID namespace), and the host's file
 * system with a private layer over it, so that everything may be written anywhere and nothing of it is on the host.
 * `stop` is the power switch: whatever runs in it ends at once.
 */
import { existsSync, globSync, mkdirSync, readdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { execute, waitFor, type Namespace, type Output } from '../host/namespace.ts';
import { readLog, startDaemon, tail, type Daemon } from '../runtimes/daemon.ts';

/** Where the private layer can be seen from inside: every file that was written and is not in /run or a bound directory. */
export const LAYER = '/mnt/layer';
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Kernel settings of the whole host that kubelet writes; it finds these files instead, with what it wants. */
const SYSCTLS = {
  'vm/overcommit_memory': 1,
  'vm/panic_on_oom': 0,
  'kernel/panic': 10,
  'kernel/panic_on_oops': 1,
  'kernel/keys/root_maxkeys': 1_000_000,
  'kernel/keys/root_maxbytes': 25_000_000,
};

/**
 * $1: a folder; the others: directories that are to be as on the host. The layer is on tmpfs, for overlayfs takes no
 * upper layer on overlayfs; the runtime keeps its images on the disk, for the same reason. The shell that stays is the
 * first process: it reaps what is left to it.
 */
const PREPARE = `set -e
folder=$1; shift
mkdir -p "$folder/layer" "$folder/containerd"
mount -t tmpfs tmpfs "$folder/layer"
cd "$folder/layer"
mkdir upper work root
mount -t overlay overlay -o "lowerdir=/,upperdir=$PWD/upper,workdir=$PWD/work" root
mount -t tmpfs tmpfs root/run
mkdir -p root/run/netns root/run/sysctl root/run/old root/mnt/layer root/var/lib/containerd
for directory in "$folder" "$@"; do
  mkdir -p "root$directory"
  mount --bind "$directory" "root$directory"
done
mount --bind "$folder/containerd" root/var/lib/containerd
mount --bind upper root/mnt/layer
mount --rbind /dev root/dev
mount -t proc proc root/proc
mount -t sysfs sysfs root/sys
mount --rbind /sys/fs/cgroup root/sys/fs/cgroup
cd root
pivot_root . run/old
cd /
umount -l /run/old
${Object.entries(SYSCTLS)
  .map(
    ([name, value]) =>
      `echo ${value} >/run/sysctl/${name.replaceAll('/', '.')}; mount --bind /run/sysctl/${name.replaceAll('/', '.')} /proc/sys/${name}`,
  )
  .join('\n')}
mount --make-rshared /
sleep infinity &
touch /run/ready
wait
`;

export type Room = {
  readonly netns: Namespace;
  /** A command inside, to its end. Never throws for a bad exit code. */
  run(argv: readonly string[], options?: { input?: string; timeoutMs?: number }): Promise<Output>;
  /** As run, but throws unless the exit code is 0; gives stdout. */
  must(argv: readonly string[], options?: { input?: string; timeoutMs?: number }): Promise<string>;
  /** Starts a program that goes on; `name` is of its log, to which one started again appends. */
  start(name: string, argv: readonly string[]): Promise<Daemon>;
  /** What is on the private layer and not a directory of the host's, sorted. */
  files(): Promise<string[]>;
  stop(): Promise<void>;
};

export async function makeRoom(netns: Namespace, folder: string, binds: readonly string[]): Promise<Room> {
  mkdirSync(folder, { recursive: true });
  const unshare = ['unshare', '--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child'];
  const enterNet = ['nsenter', `--net=${netns.path}`];
  const keeper = startDaemon(
    [...enterNet, ...unshare, 'sh', '-c', PREPARE, 'sh', folder, ...binds],
    join(folder, 'room.log'),
  );
  const first = await waitFor(`the first process of ${netns.name}`, () => childOf(keeper.pid));
  const target = ['nsenter', '--target', String(first), '--mount', '--net', '--pid'];
  const enter = [...target, 'env', '-i', `PATH=${PATH}`, 'HOME=/root'];
  const run: Room['run'] = (argv, options) => execute([...enter, ...argv], options);
  const must: Room['must'] = async (argv, options) => {
    const done = await run(argv, options);
    if (done.code === 0) return done.stdout;
    throw new Error(`${argv.join(' ')}: exit ${done.code}: ${done.stderr}${done.stdout}`);
  };
  const room: Room = {
    netns,
    run,
    must,
    start: (name, argv) => startInside({ room, enter, folder }, name, argv),
    files: async () =>
      (await must(['find', LAYER, '-mindepth', '1', '-printf', '%y/%P\n']))
        .trim()
        .split('\n')
        .filter((line) => line[0] !== 'd' || !existsSync(line.slice(1)))
        .map((line) => line.slice(1))
        .sort(),
    stop: async () => {
      await keeper.stop();
      await waitFor(`the processes of ${netns.name} to end`, () => !existsSync(`/proc/${first}`));
    },
  };
  const isReady = async (): Promise<boolean> => {
    if (keeper.ended() !== undefined) throw new Error(`the room of ${netns.name}: ${tail(keeper.log())}`);
    return (await run(['test', '-e', '/run/ready'])).code === 0;
  };
  try {
    await waitFor(`the room of ${netns.name}`, isReady);
  } catch (error) {
    await keeper.stop();
    throw error;
  }
  return room;
}

function childOf(pid: number): number | undefined {
  const [child] = readLog(`/proc/${pid}/task/${pid}/children`).trim().split(' ');
  return child === undefined || child === '' ? undefined : Number(child);
}

type Inside = { readonly room: Room; readonly enter: readonly string[]; readonly folder: string };

/** nsenter outlives no program and ends none: a signal is for the program's own number, inside. */
async function startInside(
  { room, enter, folder }: Inside,
  name: string,
  argv: readonly string[],
): Promise<Daemon> {
  const file = `/run/${name}.pid`;
  await room.must(['rm', '-f', file]);
  const script = 'echo $$ >"$0"; exec "$@"';
  const outer = startDaemon([...enter, 'sh', '-c', script, file, ...argv], join(folder, `${name}.log`));
  const number = await waitFor(`${name} to start`, async () => {
    if (outer.ended() !== undefined) throw new Error(`${name} ended: ${tail(outer.log())}`);
    return (await room.run(['cat', file])).stdout.trim() || undefined;
  });
  const signal = async (which: NodeJS.Signals): Promise<void> =>
    void (await room.run(['kill', '-s', which.slice(3), number]));
  return {
    ...outer,
    signal: (which) => void signal(which),
    stop: async (which = 'SIGKILL') => {
      if (outer.ended() !== undefined) return;
      await signal(which);
      await waitFor(`${name} to end`, () => outer.ended() !== undefined, 60_000);
    },
  };
}

/** Control groups below that name in which nothing is any more; children go first. */
export function removeGroups(name: string): void {
  for (const top of globSync([`/sys/fs/cgroup/*/${name}`, `/sys/fs/cgroup/${name}`])) {
    const inside = readdirSync(top, { recursive: true, withFileTypes: true });
    const directories = inside.filter((entry) => entry.isDirectory());
    const paths = directories.map((entry) => join(entry.parentPath, entry.name));
    for (const group of [top, ...paths].sort().reverse()) removeGroup(group);
  }
}

function removeGroup(path: string): void {
  try {
    rmdirSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EBUSY') throw error;
  }
}
