/** What a tunnel's process and the one that follows it say to each other, over the pipe that comes with being started. */
import { type ChildProcess, spawn } from 'node:child_process';
import type { LinkLegacy } from './legacy.ts';
import type { Order } from './order.ts';
import type { TunDevice } from './tun.ts';
import type { TunnelGround } from './tunnel.ts';
import type { UdpSocket } from './udp.ts';

/** Descriptors that the follower gets. */
export const TUN_FD = 3;
export const UDP_FD = 4;

export type Word =
  | { readonly what: 'up' }
  | {
      readonly what: 'ground';
      readonly order: Order;
      readonly tun: Omit<TunDevice, 'fd'>;
      readonly udp: Omit<UdpSocket, 'fd'>;
    }
  | { readonly what: 'ready' }
  | { readonly what: 'estate'; readonly links: readonly LinkLegacy[] }
  | { readonly what: 'took' };
type Named<What> = Extract<Word, { what: What }>;

export type Follower = {
  send(word: Word): void;
  hear<What extends Word['what']>(what: What, timeoutMs: number): Promise<Named<What>>;
  kill(): void;
};

type Speaker = Pick<ChildProcess, 'on' | 'off'>;

/** The next word, which has to be this one. */
function next<What extends Word['what']>(from: Speaker, what: What, timeoutMs: number): Promise<Named<What>> {
  return new Promise((resolve, reject) => {
    const done = (): void => {
      clearTimeout(timer);
      from.off('message', take).off('exit', gone).off('disconnect', gone);
    };
    const take = (word: unknown): void => {
      done();
      const said = word as Word;
      if (said.what === what) resolve(said as Named<What>);
      else reject(new Error(`the other process says ${said.what}, not ${what}`));
    };
    const gone = (): void => {
      done();
      reject(new Error(`the other process ended before it said ${what}`));
    };
    const timer = setTimeout(gone, timeoutMs);
    from.on('message', take).on('exit', gone).on('disconnect', gone);
  });
}

/** In the follower. */
export function say(word: Word): void {
  process.send?.(word);
}
export function hear<What extends Word['what']>(what: What, timeoutMs: number): Promise<Named<What>> {
  return next(process as unknown as Speaker, what, timeoutMs);
}

/** Starts a follower; resolves when its threads wait. */
export async function makeFollower(
  [program = '', ...words]: readonly string[],
  { order, ground }: { readonly order: Order; readonly ground: TunnelGround },
  timeoutMs: number,
): Promise<Follower> {
  const { tun, udp } = ground;
  const child = spawn(program, words, {
    stdio: ['ignore', 'inherit', 'inherit', tun.fd, udp.fd, 'ipc'],
    serialization: 'advanced',
    detached: true,
  });
  child.on('error', () => {});
  const follower: Follower = {
    send: (word) => void child.send(word),
    hear: (what, patience) => next(child, what, patience),
    kill: () => void child.kill('SIGKILL'),
  };
  try {
    await follower.hear('up', timeoutMs);
    const { fd: _tun, ...device } = tun;
    const { fd: _udp, ...socket } = udp;
    follower.send({ what: 'ground', order, tun: device, udp: socket });
    await follower.hear('ready', timeoutMs);
    return follower;
  } catch (error) {
    follower.kill();
    throw error;
  }
}
