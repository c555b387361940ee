/** A connection to BIRD's control socket. Commands are asked one after the other; the connection ends with the daemon. */
import { connect } from 'node:net';
import { makeReplyReader, type Reply } from './reply.ts';

export type Control = {
  /** Rejects when the connection ends first, or after `timeoutMs`. */
  ask(command: string): Promise<Reply>;
  /** Resolves when the daemon, or `close`, ended it. */
  readonly closed: Promise<void>;
  close(): void;
};

type Waiting = { readonly resolve: (reply: Reply) => void; readonly reject: (error: Error) => void };

/** Rejects when nobody listens. */
export async function openControl(path: string, timeoutMs: number): Promise<Control> {
  const socket = connect(path);
  const reader = makeReplyReader();
  const waiting: Waiting[] = [];
  socket.setEncoding('utf8');
  socket.on('data', (text: string) => {
    for (const reply of reader.read(text)) waiting.shift()?.resolve(reply);
  });
  let failure = new Error('the connection to BIRD has ended');
  socket.on('error', (error) => (failure = error));
  const closed = new Promise<void>((resolve) => {
    socket.on('close', () => {
      for (const { reject } of waiting.splice(0)) reject(failure);
      resolve();
    });
  });
  const expectReply = (what: string): Promise<Reply> =>
    new Promise((resolve, reject) => {
      if (socket.destroyed) return reject(failure);
      const timer = setTimeout(
        () => socket.destroy(new Error(`BIRD gave no answer to ${what} within ${timeoutMs} ms`)),
        timeoutMs,
      );
      waiting.push({
        resolve: (reply) => [clearTimeout(timer), resolve(reply)],
        reject: (error) => [clearTimeout(timer), reject(error)],
      });
    });
  // It greets first, with a reply of its own.
  await expectReply('the connection');
  return {
    ask: (command) => {
      const reply = expectReply(command);
      socket.write(`${command}\n`);
      return reply;
    },
    closed,
    close: () => socket.destroy(),
  };
}
