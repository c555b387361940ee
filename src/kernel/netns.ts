/**
 * Network namespaces by file descriptor. A thread enters one only for the length of a synchronous function: sockets
 * opened and /proc/sys files written meanwhile belong to that namespace. Never start anything asynchronous inside.
 */
import { closeSync, constants, fstatSync, openSync, promises, readlinkSync, statfsSync } from 'node:fs';
import { setns } from './sys.ts';

const CLONE_NEWNET = 0x4000_0000;
/** linux/magic.h */
const NSFS_MAGIC = 0x6e73_6673;

/**
 * libuv starts its pool threads on first use, and they keep the namespace of that moment for ever: so use it now.
 * Await this before the first `inNetns`.
 */
export const ready: Promise<void> = promises.stat('/').then(() => undefined);

/**
 * Opens the namespace at this path (`/run/netns/x`, `/proc/1/ns/net`); the caller closes it. Throws Node's system
 * error, or an Error when the file is no network namespace: what is left once a runtime has unmounted it is an empty file.
 */
export function openNetns(path: string): number {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const opened = `/proc/self/fd/${fd}`;
  // A namespace of another kind is called `mnt:[…]`; one that is mounted somewhere, by its path.
  const isOther = /^(?!net:)\w+:\[\d+\]$/.test(readlinkSync(opened));
  if (statfsSync(opened).type === NSFS_MAGIC && !isOther) return fd;
  closeSync(fd);
  throw new Error(`${path} is no network namespace`);
}

/** What tells one namespace from another during one boot. */
export function netnsInode(fd: number): bigint {
  return fstatSync(fd, { bigint: true }).ino;
}

/** Where the thread is: nothing but `inNetns` ever moves it. Undefined until it is first asked. */
let here: number | undefined;

/**
 * Runs `work` in the namespace and comes back. Aborts the process when it cannot come back: to go on in a stranger's
 * namespace would configure the wrong one.
 */
export function inNetns<T>(fd: number, work: () => T): T {
  const before = (here ??= openNetns('/proc/thread-self/ns/net'));
  setns(fd, CLONE_NEWNET);
  here = fd;
  try {
    return work();
  } finally {
    goBack(before);
    here = before;
  }
}

function goBack(fd: number): void {
  try {
    setns(fd, CLONE_NEWNET);
  } catch {
    process.abort();
  }
}
