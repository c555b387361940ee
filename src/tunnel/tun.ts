/**
 * The TUN device: IP packets with virtio's header (IFF_VNET_HDR), so that super-packets and unfinished checksums cross the
 * boundary (Documentation/networking/tuntap.rst, include/uapi/linux/if_tun.h). Made in the calling thread's network
 * namespace; addresses and routes are not its business.
 */
import { close, ioctl, ioctlNumber, open, socket } from './sys.ts';

const O_RDWR = 0o2;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;
const [AF_INET, SOCK_DGRAM] = [2, 2];

const TUNSETIFF = 0x4004_54ca;
const TUNSETPERSIST = 0x4004_54cb;
const TUNSETOFFLOAD = 0x4004_54d0;
const IFF_TUN = 0x0001;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
/** TUN_F_CSUM, TSO4, TSO6, TSO_ECN; and USO4, USO6 (Linux 6.2). */
const OFFLOADS = { tcp: 0x0f, udp: 0x60 } as const;

const SIOCGIFFLAGS = 0x8913;
const SIOCSIFFLAGS = 0x8914;
const SIOCSIFMTU = 0x8922;
const SIOCGIFINDEX = 0x8933;
const SIOCSIFTXQLEN = 0x8943;
const IFF_UP = 1;
/** sizeof(struct ifreq); the name has IFNAMSIZ bytes with its NUL. */
const [IFREQ_BYTES, NAME_BYTES] = [40, 16];
/** Packets that wait while this process is not scheduled; the default of 500 loses bursts of small ones. */
const QUEUE_LENGTH = 2000;

export type TunDevice = {
  readonly fd: number;
  readonly name: string;
  readonly index: number;
  /** Whether the kernel takes and gives super-packets of UDP. */
  readonly udpOffload: boolean;
};

export type TunOptions = {
  readonly name: string;
  readonly mtu: number;
  /** The device outlives the process: routes over it stay, and the next process takes it up again. */
  readonly keep: boolean;
  /** Somebody else makes the device: where there is none, that is an error (ENODEV). */
  readonly mustExist?: boolean;
};

function request(name: string, fill: (request: Buffer) => void = () => {}): Buffer {
  const bytes = Buffer.alloc(IFREQ_BYTES);
  bytes.write(name, 0, 'latin1');
  fill(bytes);
  return bytes;
}

/** The device, up, non-blocking. Takes up one of this name that was kept. Throws TunnelSysError. */
export function openTun({ name, mtu, keep, mustExist = false }: TunOptions): TunDevice {
  if (name === '' || name.length >= NAME_BYTES) throw new TypeError(`no device name: ${name}`);
  if (mustExist) withRequest(name, (ask) => ask('SIOCGIFINDEX', SIOCGIFINDEX, 0));
  const fd = open('/dev/net/tun', O_RDWR | O_NONBLOCK | O_CLOEXEC);
  try {
    const flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
    ioctl(
      'TUNSETIFF',
      fd,
      TUNSETIFF,
      request(name, (bytes) => bytes.writeUInt16LE(flags, NAME_BYTES)),
    );
    const udpOffload = setOffloads(fd);
    ioctlNumber('TUNSETPERSIST', [fd, TUNSETPERSIST, keep ? 1 : 0]);
    return { fd, name, index: setUp(name, mtu), udpOffload };
  } catch (error) {
    close(fd);
    throw error;
  }
}

function setOffloads(fd: number): boolean {
  try {
    ioctlNumber('TUNSETOFFLOAD', [fd, TUNSETOFFLOAD, OFFLOADS.tcp | OFFLOADS.udp]);
    return true;
  } catch {
    ioctlNumber('TUNSETOFFLOAD', [fd, TUNSETOFFLOAD, OFFLOADS.tcp]);
    return false;
  }
}

type Ask = (what: string, code: number, value: number) => Buffer;

function withRequest<T>(name: string, work: (ask: Ask) => T): T {
  const fd = socket(AF_INET, SOCK_DGRAM | O_CLOEXEC, 0);
  try {
    return work((what, code, value) => {
      const bytes = request(name, (bytes) => bytes.writeInt32LE(value, NAME_BYTES));
      ioctl(what, fd, code, bytes);
      return bytes;
    });
  } finally {
    close(fd);
  }
}

function setUp(name: string, mtu: number): number {
  return withRequest(name, (ask) => {
    ask('SIOCSIFMTU', SIOCSIFMTU, mtu);
    ask('SIOCSIFTXQLEN', SIOCSIFTXQLEN, QUEUE_LENGTH);
    const flags = ask('SIOCGIFFLAGS', SIOCGIFFLAGS, 0).readUInt16LE(NAME_BYTES);
    ask('SIOCSIFFLAGS', SIOCSIFFLAGS, flags | IFF_UP);
    return ask('SIOCGIFINDEX', SIOCGIFINDEX, 0).readInt32LE(NAME_BYTES);
  });
}

/** Closes it; a device that was kept goes with it if `remove`. */
export function closeTun({ fd }: TunDevice, remove: boolean): void {
  if (remove) ioctlNumber('TUNSETPERSIST', [fd, TUNSETPERSIST, 0]);
  close(fd);
}
