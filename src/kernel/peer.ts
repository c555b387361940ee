/** A connected unix socket that Node holds: what its streams do not tell, or only with the loop's next turns. */
import { getsockopt, recvNow } from './sys.ts';

const SOL_SOCKET = 1;
const SO_PEERCRED = 17;

/** Process and user id of the process that connected (unix(7)): the kernel's word. Undefined when it is cut off. */
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

/** Every receive is copied before the next. */
const received = Buffer.alloc(64 << 10);

/**
 * What the peer has said so far, a little more than `max` bytes at most, and whether it has ended. Nobody else may read
 * meanwhile: pause Node's stream. A broken connection is not ended: Node, which reads on, will find it.
 */
export function takeWaiting(fd: number, max: number): { bytes: Buffer; ended: boolean } {
  const chunks: Buffer[] = [];
  let taken = 1;
  for (let size = 0; taken > 0 && size <= max; size += taken) {
    taken = tryReceive(fd);
    if (taken > 0) chunks.push(Buffer.from(received.subarray(0, taken)));
  }
  return { bytes: Buffer.concat(chunks), ended: taken === 0 };
}

function tryReceive(fd: number): number {
  try {
    return recvNow(fd, received);
  } catch {
    return -1;
  }
}
