/**
 * The UDP port at which the kernel unwraps ESP (RFC 3948): a socket with UDP_ENCAP. It has to outlive the agent, so a process
 * that only sleeps keeps it, and carries the item in its name, by which any agent of the namespace finds it again.
 */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { constants } from 'node:os';
import type { EspPortItem } from '#model/host.ts';
import { addressFamily, parseAddress } from '#net/address.ts';
import { socketAddress } from './netlink/wireguard.ts';
import { bind, close, setIntOption, socket, SysError } from './sys.ts';

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const IPPROTO_UDP = 17;
/** include/uapi/linux/udp.h. */
const UDP_ENCAP = 100;
const UDP_ENCAP_ESPINUDP = 2;
const KEEPER = 'tartan-esp';
const PATH = '/usr/bin:/bin';

type Kept = { readonly pid: number; readonly item: EspPortItem };

/** In the namespace that the calling thread is in. */
export function keptPorts(): Kept[] {
  const own = readlinkSync('/proc/thread-self/ns/net');
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      const item = readKeeper(`/proc/${pid}`, own);
      return item === undefined ? [] : [{ pid: Number(pid), item }];
    });
}

/** Processes end while they are looked at. */
function readKeeper(directory: string, netns: string): EspPortItem | undefined {
  try {
    const [title = ''] = readFileSync(`${directory}/cmdline`, 'utf8').split('\0');
    const [name, local = '', port] = title.split(' ');
    const address = parseAddress(local);
    if (name !== KEEPER || address === undefined) return undefined;
    if (readlinkSync(`${directory}/ns/net`) !== netns) return undefined;
    return { kind: 'esp-port', local: address, port: Number(port) };
  } catch {
    return undefined;
  }
}

/** Throws SysError: EADDRINUSE where somebody else has the port. */
export function keepPort(item: EspPortItem): void {
  if (keptPorts().some((kept) => isSame(kept.item, item))) return;
  const { local, port } = item;
  const six = addressFamily(local) === 6;
  const fd = socket(six ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_UDP);
  try {
    const place = socketAddress(local, port);
    bind(fd, place, place.length);
    setIntOption(fd, IPPROTO_UDP, UDP_ENCAP, UDP_ENCAP_ESPINUDP);
    const keeper = spawn('sleep', ['infinity'], {
      argv0: `${KEEPER} ${local} ${port}`,
      stdio: ['ignore', 'ignore', 'ignore', fd],
      detached: true,
      cwd: '/',
      env: { PATH },
    });
    keeper.on('error', () => {});
    if (keeper.pid === undefined) throw new SysError('starting sleep', constants.errno.ENOENT);
    keeper.unref();
  } finally {
    close(fd);
  }
}

export function releasePort(item: EspPortItem): void {
  for (const kept of keptPorts()) if (isSame(kept.item, item)) process.kill(kept.pid, 'SIGKILL');
}

function isSame(a: EspPortItem, b: EspPortItem): boolean {
  return a.local === b.local && a.port === b.port;
}
