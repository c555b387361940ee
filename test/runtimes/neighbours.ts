/**
 * A place for other programs that act on a node's network (firewalls, Docker, link managers): the node's network
 * namespace, and a mount namespace in which the packages that scripts/neighbours.sh unpacked lie over /usr and /etc.
 * /run, /var/lib, /etc and /sys are private, so nothing that runs there touches this machine's own state.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { execute, type Namespace, type Output, waitFor } from '../host/namespace.ts';

const { TARTAN_CACHE, XDG_CACHE_HOME } = process.env;
const CACHE = TARTAN_CACHE ?? join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'tartan');
const PACKAGES = join(CACHE, 'neighbours-1');
const PATH = '/usr/sbin:/usr/bin';

/** $1: the room's folder, $2: the packages. Upper layers are on tmpfs: overlayfs takes no upper layer on overlayfs. */
const PREPARE = `set -e
mount -t tmpfs tmpfs "$1"
cd "$1"
mkdir etc work run lib log cgroup dev
mount -t overlay overlay -o "lowerdir=$2/usr:/usr" /usr
mount -t overlay overlay -o "lowerdir=$2/etc:/etc,upperdir=$1/etc,workdir=$1/work" /etc
mkdir run/netns run/dbus
mount --rbind /run/netns run/netns
mount --rbind run /run
mount --bind lib /var/lib
mount --bind log /var/log
mount --rbind /sys/fs/cgroup cgroup
mount -t sysfs sysfs /sys
mount --rbind cgroup /sys/fs/cgroup
ls -1 /sys/class/net >/run/ready
exec sleep infinity
`;

const TRY = `mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work
mount -t overlay overlay -o lowerdir=${PACKAGES}/etc:/etc,upperdir=/mnt/upper,workdir=/mnt/work /etc
mount -t overlay overlay -o lowerdir=${PACKAGES}/usr:/usr /usr`;

export type Room = {
  readonly pid: number;
  /** A command inside, to its end. */
  run(argv: readonly string[]): Promise<Output>;
  /** As run, but throws unless the exit code is 0; gives stdout. */
  must(argv: readonly string[]): Promise<string>;
  /** Starts a daemon; it is ended with the room, or before by its `stop`. */
  start(argv: readonly string[]): Daemon;
  stop(): Promise<void>;
};
export type Daemon = { log(): string; stop(): Promise<void> };

/** Why those programs cannot be run here, or undefined. */
export function whyNoNeighbours(): string | undefined {
  if (!existsSync(join(PACKAGES, 'usr'))) return `${PACKAGES} is not there: scripts/neighbours.sh makes it`;
  try {
    execFileSync('unshare', ['--mount', '--propagation', 'private', 'sh', '-ec', TRY], { stdio: 'pipe' });
    return undefined;
  } catch (error) {
    return `no overlay over /etc and /usr here: ${(error as { stderr?: Buffer }).stderr?.toString().trim()}`;
  }
}

export async function makeRoom(netns: Namespace, folder: string): Promise<Room> {
  const place = join(folder, 'room');
  mkdirSync(place, { recursive: true });
  const inner = [
    'unshare',
    '--mount',
    '--propagation',
    'private',
    'sh',
    '-c',
    PREPARE,
    'sh',
    place,
    PACKAGES,
  ];
  const keeper = netns.start(inner, { stdio: ['ignore', 'ignore', 'inherit'] });
  const enter = ['nsenter', '--target', String(keeper.pid), '--mount', '--net', '--', 'env', `PATH=${PATH}`];
  const run: Room['run'] = (argv) => execute([...enter, ...argv], { timeoutMs: 60_000 });
  const daemons: Daemon[] = [];
  const room: Room = {
    pid: keeper.pid ?? 0,
    run,
    must: async (argv) => {
      const done = await run(argv);
      if (done.code !== 0)
        throw new Error(`${argv.join(' ')}: exit ${done.code}: ${done.stderr}${done.stdout}`);
      return done.stdout;
    },
    start: (argv) => {
      const daemon = startDaemon([...enter, ...argv], join(folder, `daemon-${daemons.length}.log`));
      daemons.push(daemon);
      return daemon;
    },
    stop: async () => {
      for (const daemon of daemons.reverse()) await daemon.stop();
      await end(keeper);
    },
  };
  const isReady = async (): Promise<boolean> => {
    if (keeper.exitCode !== null) throw new Error('the mounts of the room failed');
    return (await run(['test', '-s', '/run/ready'])).code === 0;
  };
  await waitFor('the mounts of the room', isReady);
  return room;
}

function startDaemon([program = '', ...words]: readonly string[], file: string): Daemon {
  const out = openSync(file, 'w');
  const child = spawn(program, words, { stdio: ['ignore', out, out] });
  return { log: () => readFileSync(file, 'utf8'), stop: () => end(child) };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGTERM');
  const late = setTimeout(() => child.kill('SIGKILL'), 30_000);
  await gone;
  clearTimeout(late);
}

/** Everything is allowed, and nothing is started on demand. */
const BUS = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/>
  </policy>
</busconfig>`;

/** The system bus, which is the room's own. */
export async function startBus(room: Room): Promise<void> {
  await room.must(['sh', '-c', 'printf %s "$1" >/run/bus.conf', 'sh', BUS]);
  room.start(['dbus-daemon', '--config-file=/run/bus.conf', '--nofork', '--nopidfile']);
  const listens = ['test', '-S', '/run/dbus/system_bus_socket'];
  await waitFor('the bus', async () => (await room.run(listens)).code === 0);
}

/**
 * udev with the rules for network links only, on a /dev of its own. The kernel tells it of the links of its own network
 * namespace; what it hears of other devices of the machine it can do nothing about here.
 */
export async function startUdev(room: Room): Promise<void> {
  const script = `set -e
mkdir -p /run/dev /run/rules
mount -t tmpfs -o mode=755 tmpfs /run/dev
for name in null zero random urandom; do : >/run/dev/$name; mount --bind /dev/$name /run/dev/$name; done
mount --rbind /run/dev /dev
cp /usr/lib/udev/rules.d/75-net-description.rules /usr/lib/udev/rules.d/80-net-setup-link.rules /run/rules
cp /usr/lib/udev/rules.d/85-nm-unmanaged.rules /run/rules
mount --bind /run/rules /usr/lib/udev/rules.d`;
  await room.must(['sh', '-c', script]);
  room.start(['/usr/lib/systemd/systemd-udevd']);
  await waitFor('udev', async () => (await room.run(['test', '-S', '/run/udev/control'])).code === 0);
  await room.must(['udevadm', 'trigger', '--action=add', '--subsystem-match=net']);
  await room.must(['udevadm', 'settle', '--timeout=20']);
}
