/**
 * libnftables: commands in nft's own language, each run of `run` one transaction. A context belongs to the network
 * namespace in which it was opened, whatever namespace the thread is in later; it is not for several threads.
 */
import { readdirSync } from 'node:fs';
import koffi from 'koffi';

/** nft refused: `code` is the errno name behind the message, EINVAL for what never reached the kernel. */
export class NftError extends Error {
  readonly code: string;
  constructor(message: string) {
    super(message);
    this.name = 'NftError';
    this.code = CODES.find(([text]) => message.includes(text))?.[1] ?? 'EINVAL';
  }
}

/** strerror(3) in the C locale; nft tells errors in words only. */
const CODES: readonly (readonly [string, string])[] = [
  ['No such file or directory', 'ENOENT'],
  ['File exists', 'EEXIST'],
  ['Device or resource busy', 'EBUSY'],
  ['Operation not permitted', 'EPERM'],
  ['Operation not supported', 'EOPNOTSUPP'],
  ['Interrupted system call should be restarted', 'ERESTART'],
  ['Message too long', 'EMSGSIZE'],
];

/** nftables/libnftables.h: NFT_CTX_OUTPUT_STATELESS and _TERSE: listings without counters, without elements. */
const STATELESS_TERSE = (1 << 1) | (1 << 11);
/** Commits lose against other writers' at most a few times in a row. */
const ATTEMPTS = 5;

type Context = object;
type Api = {
  create(flags: number): Context | null;
  free(context: Context): void;
  bufferOutput(context: Context): number;
  bufferErrors(context: Context): number;
  setFlags(context: Context, flags: number): void;
  run(context: Context, command: string): number;
  output(context: Context): string;
  errors(context: Context): string;
  getsockname(fd: number, address: Uint8Array, length: Uint8Array): number;
};

let loaded: Api | undefined;

/** Loaded on first use: a host without libnftables can still run everything that needs none. */
function api(): Api {
  if (loaded !== undefined) return loaded;
  const nft = koffi.load('libnftables.so.1');
  loaded = {
    create: nft.func('void *nft_ctx_new(uint32_t)'),
    free: nft.func('void nft_ctx_free(void *)'),
    bufferOutput: nft.func('int nft_ctx_buffer_output(void *)'),
    bufferErrors: nft.func('int nft_ctx_buffer_error(void *)'),
    setFlags: nft.func('void nft_ctx_output_set_flags(void *, unsigned int)'),
    run: nft.func('int nft_run_cmd_from_buffer(void *, const char *)'),
    output: nft.func('const char *nft_ctx_get_output_buffer(void *)'),
    errors: nft.func('const char *nft_ctx_get_error_buffer(void *)'),
    getsockname: koffi.load(null).func('int getsockname(int, void *, void *)'),
  } as unknown as Api;
  return loaded;
}

export type NftLibrary = {
  /** Runs commands as one transaction and answers what they print; throws NftError, and then nothing has changed. */
  run(commands: string): string;
  /** Netlink port of the context: events that carry it are our own. 0 (never an event's) when it was not found. */
  readonly port: number;
  close(): void;
};

/** Opens a context in the calling thread's network namespace. */
export function openLibrary(): NftLibrary {
  const lib = api();
  const before = netlinkPorts();
  const context = lib.create(0);
  if (context === null) throw new NftError('nft_ctx_new failed');
  lib.bufferOutput(context);
  lib.bufferErrors(context);
  lib.setFlags(context, STATELESS_TERSE);
  // The kernel gives the socket its port with the first message.
  lib.run(context, 'list tables');
  const port = [...netlinkPorts()].find(([fd]) => !before.has(fd))?.[1] ?? 0;
  return { run: (commands) => run(context, commands), port, close: () => lib.free(context) };
}

function run(context: Context, commands: string): string {
  const lib = api();
  for (let attempt = 1; ; attempt += 1) {
    const failed = lib.run(context, commands) !== 0;
    const output = lib.output(context);
    if (!failed) return output;
    const error = new NftError(lib.errors(context).trim());
    if (error.code !== 'ERESTART' || attempt === ATTEMPTS) throw error;
  }
}

/** Netlink port of a socket, which events caused by it carry; undefined when it is no netlink socket. */
export function netlinkPort(fd: number): number | undefined {
  const AF_NETLINK = 16;
  const address = Buffer.alloc(12);
  const length = Buffer.from([12, 0, 0, 0]);
  const known = api().getsockname(fd, address, length) === 0 && address.readUInt16LE(0) === AF_NETLINK;
  return known ? address.readUInt32LE(4) : undefined;
}

/** Ports of this process by descriptor: libnftables does not tell its own, so it is the one that came. */
function netlinkPorts(): Map<string, number> {
  const ports = new Map<string, number>();
  for (const fd of readdirSync('/proc/self/fd')) {
    const port = netlinkPort(Number(fd));
    if (port !== undefined) ports.set(fd, port);
  }
  return ports;
}
