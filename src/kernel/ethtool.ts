/**
 * Transmit checksum offload of a link (`ethtool -K LINK tx on|off`), by the SIOCETHTOOL ioctl of the calling thread's
 * network namespace (include/uapi/linux/ethtool.h).
 */
import koffi from 'koffi';
import { close, ioctl, socket } from './sys.ts';

const AF_INET = 2;
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000;
const SIOCETHTOOL = 0x8946;
const ETHTOOL_GTXCSUM = 0x16;
const ETHTOOL_STXCSUM = 0x17;
const IFNAMSIZ = 16;

/** Whether the kernel may leave checksums of what the link sends to be computed later. Throws SysError (ENODEV …). */
export function txChecksumOffload(link: string): boolean {
  return requestValue(link, ETHTOOL_GTXCSUM, 0) !== 0;
}

export function setTxChecksumOffload(link: string, on: boolean): void {
  requestValue(link, ETHTOOL_STXCSUM, on ? 1 : 0);
}

/** `struct ethtool_value` behind `struct ifreq`; answers its data after the call. */
function requestValue(link: string, command: number, data: number): number {
  const value = Buffer.allocUnsafeSlow(8);
  value.writeUInt32LE(command, 0);
  value.writeUInt32LE(data, 4);
  const request = Buffer.alloc(40);
  request.write(link.slice(0, IFNAMSIZ - 1), 'latin1');
  request.writeBigUInt64LE(koffi.address(value), IFNAMSIZ);
  const fd = socket(AF_INET, SOCK_DGRAM_CLOEXEC, 0);
  try {
    ioctl(fd, SIOCETHTOOL, request);
    return value.readUInt32LE(4);
  } finally {
    close(fd);
  }
}
