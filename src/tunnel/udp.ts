/**
 * The UDP socket of a tunnel, for both families where the host has IPv6: Don't Fragment always set and the path's MTU left to
 * us (IP_PMTUDISC_PROBE), ICMP errors readable (IP_RECVERR), datagrams joined by the kernel (UDP_GRO).
 */
import { AF_INET, AF_INET6, type SocketFamily, sockaddrSize } from './endpoint.ts';
import { bind, close, getsockname, setIntOption, socket, TunnelSysError } from './sys.ts';

const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;
const [SOL_IP, SOL_IPV6, SOL_UDP] = [0, 41, 17];
const IP_MTU_DISCOVER = 10;
const IP_RECVERR = 11;
const IPV6_MTU_DISCOVER = 23;
const IPV6_RECVERR = 25;
const IPV6_V6ONLY = 26;
const PMTUDISC_PROBE = 3;
const UDP_GRO = 104;
/** A burst of the fastest sender while this process is not scheduled. */
const BUFFER_BYTES = 16 << 20;

export type UdpSocket = { readonly fd: number; readonly family: SocketFamily; readonly port: number };

function openFamily(family: SocketFamily): number {
  const fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  try {
    if (family === AF_INET6) {
      setIntOption(fd, [SOL_IPV6, IPV6_V6ONLY], 0);
      setIntOption(fd, [SOL_IPV6, IPV6_MTU_DISCOVER], PMTUDISC_PROBE);
      setIntOption(fd, [SOL_IPV6, IPV6_RECVERR], 1);
    }
    setIntOption(fd, [SOL_IP, IP_MTU_DISCOVER], PMTUDISC_PROBE);
    setIntOption(fd, [SOL_IP, IP_RECVERR], 1);
    setIntOption(fd, [SOL_UDP, UDP_GRO], 1);
    for (const option of [SO_SNDBUFFORCE, SO_RCVBUFFORCE])
      setIntOption(fd, [SOL_SOCKET, option], BUFFER_BYTES);
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** Bound to this port on all addresses; 0: any free one. Throws TunnelSysError (EADDRINUSE). */
export function openUdp(port: number): UdpSocket {
  try {
    return bindTo(AF_INET6, port);
  } catch (error) {
    // A host that was booted without IPv6 refuses the socket or the address.
    const without = ['EAFNOSUPPORT', 'EADDRNOTAVAIL'];
    if (!(error instanceof TunnelSysError) || !without.includes(error.code)) throw error;
    return bindTo(AF_INET, port);
  }
}

function bindTo(family: SocketFamily, port: number): UdpSocket {
  const fd = openFamily(family);
  try {
    const any = Buffer.alloc(sockaddrSize(family));
    any.writeUInt16LE(family, 0);
    any.writeUInt16BE(port, 2);
    bind(fd, any);
    return { fd, family, port: getsockname(fd, any.length).readUInt16BE(2) };
  } catch (error) {
    close(fd);
    throw error;
  }
}
