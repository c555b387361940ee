/**
 * The system calls of the data path, through koffi. They take pointers as numbers and answer −errno instead of
 * throwing: EAGAIN is daily business here. Descriptors are close-on-exec and non-blocking; who opened them closes them.
 */
import { constants } from 'node:os';
import koffi from 'koffi';

const libc = koffi.load(null);

type Raw = (...args: readonly (number | Uint8Array | string | null)[]) => number;

const found = (signature: string): Raw => libc.func(signature);
const raw = {
  read: found('intptr_t read(int, uintptr_t, size_t)'),
  writev: found('intptr_t writev(int, uintptr_t, int)'),
  sendmsg: found('intptr_t sendmsg(int, uintptr_t, int)'),
  recvmsg: found('intptr_t recvmsg(int, uintptr_t, int)'),
  poll: found('int poll(uintptr_t, unsigned long, int)'),
  open: found('int open(const char *, int, int)'),
  close: found('int close(int)'),
  ioctl: found('int ioctl(int, unsigned long, void *)'),
  socket: found('int socket(int, int, int)'),
  bind: found('int bind(int, void *, uint32_t)'),
  getsockname: found('int getsockname(int, void *, void *)'),
  sendto: found('intptr_t sendto(int, void *, size_t, int, void *, uint32_t)'),
  send: found('intptr_t send(int, void *, size_t, int)'),
  recv: found('intptr_t recv(int, void *, size_t, int)'),
  setsockopt: found('int setsockopt(int, int, int, void *, uint32_t)'),
  eventfd: found('int eventfd(unsigned int, int)'),
  write: found('intptr_t write(int, void *, size_t)'),
};

const orErrno = (result: number): number => (result === -1 ? -koffi.errno() : result);

export const { EAGAIN, EINTR, EMSGSIZE, ENOBUFS, EAFNOSUPPORT, EBUSY } = constants.errno;
/** Node's table does not know it. */
export const EBADFD = 77;

export const MSG_ERRQUEUE = 0x2000;

export const read = (fd: number, to: number, size: number): number => orErrno(raw.read(fd, to, size));
export const writev = (fd: number, iovecs: number, count: number): number =>
  orErrno(raw.writev(fd, iovecs, count));
export const sendmsg = (fd: number, message: number): number => orErrno(raw.sendmsg(fd, message, 0));
export const recvmsg = (fd: number, message: number, flags = 0): number =>
  orErrno(raw.recvmsg(fd, message, flags));
export const poll = (pollfds: number, count: number, timeoutMs: number): number =>
  orErrno(raw.poll(pollfds, count, timeoutMs));

/** What was asked of the kernel and refused; `code` is the errno name. */
export class TunnelSysError extends Error {
  readonly code: string;
  constructor(what: string, errno: number) {
    const code = Object.entries(constants.errno).find(([, value]) => value === errno)?.[0] ?? `E${errno}`;
    super(`${what}: ${code}`);
    this.name = 'TunnelSysError';
    this.code = code;
  }
}

function must(what: string, result: number): number {
  if (result === -1) throw new TunnelSysError(what, koffi.errno());
  return result;
}

export const open = (path: string, flags: number): number => must(`open ${path}`, raw.open(path, flags, 0));
export const close = (fd: number): number => must('close', raw.close(fd));
export const ioctl = (what: string, fd: number, request: number, argument: Uint8Array): number =>
  must(what, raw.ioctl(fd, request, argument));
/** `ioctl` whose argument is the number itself. */
const ioctlValue = found('int ioctl(int, unsigned long, unsigned long)');
export const ioctlNumber = (what: string, [fd, request, value]: readonly [number, number, number]): number =>
  must(what, ioctlValue(fd, request, value));
export const socket = (family: number, type: number, protocol: number): number =>
  must('socket', raw.socket(family, type, protocol));
export const bind = (fd: number, address: Uint8Array): number =>
  must('bind', raw.bind(fd, address, address.length));

/** The socket's own address, in a buffer of this many bytes. */
export function getsockname(fd: number, size: number): Buffer {
  const [address, length] = [Buffer.alloc(size), Buffer.alloc(4)];
  length.writeUInt32LE(size);
  must('getsockname', raw.getsockname(fd, address, length));
  return address;
}

/** Answers −errno: a datagram may always be lost. */
export const sendto = (fd: number, data: Uint8Array, to: Uint8Array): number =>
  orErrno(raw.sendto(fd, data, data.length, 0, to, to.length));
export const send = (fd: number, data: Uint8Array): number =>
  must('send', raw.send(fd, data, data.length, 0));
export const recv = (fd: number, into: Uint8Array): number =>
  must('recv', raw.recv(fd, into, into.length, 0));

export function setIntOption(fd: number, [level, option]: readonly [number, number], value: number): void {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  must(`setsockopt ${level}/${option}`, raw.setsockopt(fd, level, option, bytes, bytes.length));
}

const EFD_FLAGS = 0o2000000 | 0o4000; // EFD_CLOEXEC | EFD_NONBLOCK

export const eventfd = (): number => must('eventfd', raw.eventfd(0, EFD_FLAGS));

/** Wakes who polls the eventfd. */
export function wake(fd: number): void {
  const one = Buffer.alloc(8);
  one.writeBigUInt64LE(1n);
  raw.write(fd, one, one.length);
}
