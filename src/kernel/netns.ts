/**
 * Network namespaces by file descriptor. A thread enters one only for the length of a synchronous function: sockets
 * opened and /proc/sys files written meanwhile belong to that namespace. Never start anything asynchronous inside.
 */
import { closeSync, constants, fstatSync, openSync, promises } from 'node:fs';
import { ioctl, setns } from './sys.ts';

const CLONE_NEWNET = 0x4000_0000;
/** ioctl_ns(2), Linux 4.11. */
const NS_GET_NSTYPE = 0xb703;

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
  if (kindOf(fd) === CLONE_NEWNET) return fd;
  closeSync(fd);
  throw new Error(`${path} is no network namespace`);
}

/** Of a namespace, as clone(2) names it; undefined for any other file, which does not know the question (ENOTTY). */
function kindOf(fd: number): number | undefined {
  try {
    return ioctl(fd, NS_GET_NSTYPE, null);
  } catch {
    return undefined;
  }
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
