/**
 * The system calls that Node does not offer, by FFI into libc. Every call here is synchronous and non-throwing at the
 * lowest level (`call` below throws SysError on -1, with the errno name). File descriptors are plain numbers, owned by
 * whoever opened them. All descriptors made here are close-on-exec.
 */
import { constants } from 'node:os';
import koffi from 'koffi';
import { Fault } from '#model/fault.ts';

const libc = koffi.load(null);

/** A system call that failed: `code` is the errno name (`ENODEV`), `errno` its number. */
export class SysError extends Error {
  readonly code: string;
  readonly errno: number;
  constructor(syscall: string, errno: number) {
    const code = errnoName(errno);
    super(`${syscall}: ${code}`);
    this.name = 'SysError';
    this.code = code;
    this.errno = errno;
  }
}

const EINTR = 4;
const EAGAIN = 11;

/** Two names share 95 and 11; the kernel's own spelling wins. The last two are missing in Node's table. */
const NAMES = new Map<number, string>([
  ...Object.entries(constants.errno).map(([name, value]): [number, string] => [value, name]),
  [EAGAIN, 'EAGAIN'],
  [35, 'EDEADLK'],
  [95, 'EOPNOTSUPP'],
  [85, 'ERESTART'],
  [524, 'ENOTSUPP'],
]);

/** `ENODEV` for 19; `E1234` for a number without a name. */
export function errnoName(errno: number): string {
  return NAMES.get(errno) ?? `E${errno}`;
}

type Call = (...args: (number | string | Uint8Array | null)[]) => number;
type AsyncCall = (...args: (number | string | Uint8Array | null)[]) => Promise<number>;

/** The call as a function that throws SysError when libc answers -1. */
function call(name: string, signature: string): Call {
  const raw = libc.func(signature) as unknown as Call;
  return (...args) => {
    const result = raw(...args);
    if (result === -1) throw new SysError(name, koffi.errno());
    return result;
  };
}

/**
 * The same for a call that a signal may end before anything happened: it is made again. The kernel does that by itself
 * only where no SO_RCVTIMEO is set (signal(7)).
 */
function untilDone(name: string, signature: string): Call {
  const raw = libc.func(signature) as unknown as Call;
  return (...args) => {
    for (;;) {
      const result = raw(...args);
      if (result !== -1) return result;
      const errno = koffi.errno();
      if (errno !== EINTR) throw new SysError(name, errno);
    }
  };
}

/** `call` on a libuv pool thread; errno is lost across threads, so failure is the answer -1. */
function asyncCall(signature: string): AsyncCall {
  const raw = libc.func(signature);
  return (...args) =>
    new Promise((resolve, reject) => {
      raw.async(...args, (error: Error | null, result: number) =>
        error === null ? resolve(result) : reject(error),
      );
    });
}

const rawRecv = libc.func('intptr_t recv(int, void *, size_t, int)') as unknown as Call;

export const socket = call('socket', 'int socket(int, int, int)');
export const bind = call('bind', 'int bind(int, void *, uint32_t)');
export const connect = call('connect', 'int connect(int, void *, uint32_t)');
/** Answers the number of bytes; flags are MSG_*. */
export const send = untilDone('send', 'intptr_t send(int, void *, size_t, int)');
export const recv = untilDone('recv', 'intptr_t recv(int, void *, size_t, int)');
/** Takes what is there: the number of bytes, or -1 when nothing waits (EAGAIN). Other errors throw. */
export function recvNow(fd: number, into: Uint8Array): number {
  const size = rawRecv(fd, into, into.length, MSG_DONTWAIT | MSG_TRUNC);
  if (size !== -1) return size;
  const errno = koffi.errno();
  if (errno === EAGAIN) return -1;
  throw new SysError('recv', errno);
}
export const sendto = call('sendto', 'intptr_t sendto(int, void *, size_t, int, void *, uint32_t)');
export const setsockopt = call('setsockopt', 'int setsockopt(int, int, int, void *, uint32_t)');
export const getsockopt = call('getsockopt', 'int getsockopt(int, int, int, void *, void *)');
export const close = call('close', 'int close(int)');
export const open = call('open', 'int open(const char *, int, int)');
export const setns = call('setns', 'int setns(int, int)');
export const unshare = call('unshare', 'int unshare(int)');
export const fcntl = call('fcntl', 'int fcntl(int, int, long)');
export const ioctl = call('ioctl', 'int ioctl(int, unsigned long, void *)');
/** On a pool thread: for sends that the kernel works on for milliseconds (deleting links). */
export const sendAsync = asyncCall('intptr_t send(int, void *, size_t, int)');
export const recvAsync = asyncCall('intptr_t recv(int, void *, size_t, int)');

/** include/uapi/linux/netlink.h: protocols that are used here. */
export const NETLINK_ROUTE = 0;
export const NETLINK_XFRM = 6;
export const NETLINK_NETFILTER = 12;
export const NETLINK_GENERIC = 16;

export const MSG_PEEK = 0x2;
export const MSG_TRUNC = 0x20;
export const MSG_DONTWAIT = 0x40;

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_RCVTIMEO = 20;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;
const SOL_NETLINK = 270;
const NETLINK_ADD_MEMBERSHIP = 1;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;
/** Room for the events of several thousand changes at once; costs memory only while they wait. */
const BUFFER_BYTES = 8 << 20;
/** The kernel answers before `send` returns; this only keeps a defect from hanging the process for ever. */
const REPLY_TIMEOUT_SECONDS = 10;

/** An option whose value is one int. */
export function setIntOption(fd: number, level: number, option: number, value: number): void {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  setsockopt(fd, level, option, bytes, 4);
}

/**
 * A netlink socket of the calling thread's network namespace, to which it stays bound. With `groups` (multicast group
 * numbers, RTNLGRP_* or NFNLGRP_*) it is non-blocking and for events; without, it blocks and is for requests: acks
 * carry the kernel's reason (NETLINK_EXT_ACK) but not the request (NETLINK_CAP_ACK), and dumps may be filtered.
 * Throws Fault `kernel` where there is no netfilter; SysError EPROTONOSUPPORT for another protocol that the kernel lacks.
 */
export function netlinkSocket(protocol: number, groups: readonly number[] = []): number {
  const events = groups.length > 0;
  const fd = openProtocol(protocol, SOCK_RAW | SOCK_CLOEXEC | (events ? SOCK_NONBLOCK : 0));
  try {
    const self = Buffer.alloc(12);
    self.writeUInt16LE(AF_NETLINK, 0);
    bind(fd, self, self.length);
    setIntOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES);
    setIntOption(fd, SOL_SOCKET, SO_SNDBUFFORCE, BUFFER_BYTES);
    for (const group of groups) setIntOption(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group);
    if (!events) prepareForRequests(fd);
  } catch (error) {
    close(fd);
    throw error;
  }
  return fd;
}

function openProtocol(protocol: number, type: number): number {
  try {
    return socket(AF_NETLINK, type, protocol);
  } catch (error) {
    throw protocol === NETLINK_NETFILTER && isMissing(error) ? noNetfilter(error) : error;
  }
}
const isMissing = (error: unknown): boolean => error instanceof SysError && error.code === 'EPROTONOSUPPORT';

/** Whoever lacks another protocol can do without; nobody can do without this one. */
export function noNetfilter(cause: unknown): Fault {
  return new Fault('kernel', 'the kernel has no nftables: it lacks nfnetlink', {
    cause,
    hint: 'modprobe nf_tables on the host, or boot a kernel with CONFIG_NETFILTER_NETLINK and CONFIG_NF_TABLES',
  });
}

function prepareForRequests(fd: number): void {
  const seconds = Buffer.alloc(16);
  seconds.writeBigInt64LE(BigInt(REPLY_TIMEOUT_SECONDS));
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, seconds, seconds.length);
  for (const option of [NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK]) {
    setIntOption(fd, SOL_NETLINK, option, 1);
  }
}
