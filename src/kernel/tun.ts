/**
 * Makes TUN devices (Documentation/networking/tuntap.rst, include/uapi/linux/if_tun.h), which rtnetlink only removes.
 * The device is there until it is deleted, whether a process carries its packets or not.
 */
import { close, ioctl, open } from './sys.ts';

const O_RDWR_CLOEXEC = 0o2 | 0o2000000;
const TUNSETIFF = 0x4004_54ca;
const TUNSETPERSIST = 0x4004_54cb;
/** IP packets, without a header of the device's own, with virtio's. */
const [IFF_TUN, IFF_NO_PI, IFF_VNET_HDR] = [0x0001, 0x1000, 0x4000];
/** sizeof(struct ifreq); the name has IFNAMSIZ bytes with its NUL. */
const [IFREQ_BYTES, IFNAMSIZ] = [40, 16];

/** Of the calling thread's network namespace. Nothing when it is there. Throws SysError (ENOENT: no /dev/net/tun). */
export function makeTun(name: string): void {
  const request = Buffer.alloc(IFREQ_BYTES);
  request.write(name.slice(0, IFNAMSIZ - 1), 'latin1');
  request.writeUInt16LE(IFF_TUN | IFF_NO_PI | IFF_VNET_HDR, IFNAMSIZ);
  const fd = open('/dev/net/tun', O_RDWR_CLOEXEC, 0);
  try {
    ioctl(fd, TUNSETIFF, request);
    // Any argument but a null pointer.
    ioctl(fd, TUNSETPERSIST, request);
  } finally {
    close(fd);
  }
}
