/** A worker thread of a tunnel as the main thread has it: started, told things, and waited for. */
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { join } from 'node:path';
import type { Counters } from './counters.ts';
import { sockaddrSize } from './endpoint.ts';
import { type FromWorker, Letterbox, type ToReceiver, type ToSender, type WorkerStart } from './mail.ts';
import type { CipherName } from './node-cipher.ts';
import { close, eventfd } from './sys.ts';
import type { TunDevice } from './tun.ts';
import type { UdpSocket } from './udp.ts';

export type Thread<Mail extends ToSender | ToReceiver> = {
  readonly letters: Letterbox<Mail>;
  /** Resolves when it is there and waits for its first letter; rejects when it never will. */
  readonly ready: Promise<void>;
  /** Resolves when it is gone, and all that it told has been taken. */
  readonly ended: Promise<void>;
  /** After it has ended. */
  readonly release: () => void;
};

/** What both threads work with. */
export type Ground = {
  readonly tun: TunDevice;
  readonly udp: UdpSocket;
  readonly counters: Counters;
  /** Undefined: plain. */
  readonly cipher: CipherName | undefined;
  /** The file of the threads, where it is not `worker.ts` beside this one (a bundle). */
  readonly worker: string | undefined;
  readonly take: (mail: FromWorker) => void;
  readonly failed: (why: string) => void;
};

export function startThread<Mail extends ToSender | ToReceiver>(
  role: WorkerStart['role'],
  ground: Ground,
): Thread<Mail> {
  const { tun, udp, counters, cipher, take, failed } = ground;
  const { port1, port2 } = new MessageChannel();
  const flag = new SharedArrayBuffer(4);
  const wake = eventfd();
  const start: WorkerStart = {
    role,
    tun: tun.fd,
    udp: udp.fd,
    wake,
    port: port2,
    flag,
    counters: counters.shared,
    cipher,
    udpOffload: tun.udpOffload,
    sockaddrSize: sockaddrSize(udp.family),
  };
  const file = ground.worker ?? join(import.meta.dirname, 'worker.ts');
  const transferList: MessagePort[] = [port2];
  const worker = new Worker(file, { workerData: start, transferList, name: `tunnel ${role}` });
  worker.on('message', take);
  worker.unref();
  const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
  const ready = new Promise<void>((resolve, reject) => {
    worker.once('message', () => resolve());
    worker.once('error', reject);
  });
  worker.once('error', (error: Error) => failed(`${role}: ${error.message}`));
  const release = (): void => {
    port1.close();
    close(wake);
  };
  return { letters: new Letterbox<Mail>(port1, flag, wake), ready, ended, release };
}
