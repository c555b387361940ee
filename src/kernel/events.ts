/**
 * Datagrams of an event socket, as they come. The file descriptor is watched by libuv's Pipe class, which reads any
 * non-blocking descriptor; Node hands it out only behind a socket's `_handle`. One `data` is one datagram.
 */
import { connect, Socket } from 'node:net';
import { close } from './sys.ts';

type PipeHandle = { open(fd: number): number };
type PipeClass = new (type: 0) => PipeHandle;

function pipeClass(): PipeClass {
  const probe = connect('/nonexistent/socket');
  probe.on('error', () => {});
  const { _handle: handle } = probe as unknown as { _handle: PipeHandle | null };
  probe.destroy();
  if (handle === null) throw new TypeError('this JavaScript runtime has no pipe handles: use Node');
  return (handle as unknown as { constructor: PipeClass }).constructor;
}

/**
 * Calls `onDatagram` until disposed or until the socket fails, which it does (ENOBUFS) when events were lost: then
 * `onLost` is called once, and the socket is closed. Takes over the descriptor.
 */
export function watchSocket(fd: number, onDatagram: (bytes: Buffer) => void, onLost: () => void): Disposable {
  let stream: Socket;
  try {
    const Pipe = pipeClass();
    const handle = new Pipe(0);
    handle.open(fd);
    const options = { handle, readable: true, writable: false };
    stream = new Socket(options as unknown as ConstructorParameters<typeof Socket>[0]);
  } catch (error) {
    close(fd);
    throw error;
  }
  let over = false;
  const end = (): void => {
    if (over) return;
    over = true;
    stream.destroy();
    onLost();
  };
  stream.on('data', onDatagram);
  stream.on('error', end);
  stream.on('close', end);
  return {
    [Symbol.dispose]: () => {
      over = true;
      stream.destroy();
    },
  };
}
