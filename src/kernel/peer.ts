/** Who is at the other end of a unix socket (unix(7), SO_PEERCRED): the kernel's word, not the peer's. */
import { getsockopt } from './sys.ts';

const SOL_SOCKET = 1;
const SO_PEERCRED = 17;

/** Process and user id of the process that connected; undefined when the socket is no longer connected. */
export function peerOf(fd: number): { pid: number; uid: number } | undefined {
  const credentials = Buffer.alloc(12);
  const size = Buffer.alloc(4);
  size.writeUInt32LE(credentials.length);
  try {
    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, credentials, size);
  } catch {
    return undefined;
  }
  return { pid: credentials.readInt32LE(0), uid: credentials.readUInt32LE(4) };
}
