/**
 * The tunnel's process, and (the same file, so that a bundle is one) its worker threads. It outlives the agent that started
 * it: pods' packets go on while no agent is there, and the next one finds it by its socket.
 *
 *   node daemon.ts serve SOCKET     waits for orders
 *   node daemon.ts follow SOCKET    takes over from the process that started it: its device and socket are 3 and 4
 *
 * How one follows another without losing a packet: the follower starts its threads, which wait; the other stops its own, and
 * packets queue in device and socket; keys and counters go over the pipe between the two; the follower's threads begin.
 */
import { chmodSync, rmSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';
import { hear, makeFollower, say, TUN_FD, UDP_FD } from './following.ts';
import { type LineServer, serveLines } from './lines.ts';
import type { Look, Request } from './order.ts';
import { programOf } from './program.ts';
import { Service } from './service.ts';
import type { TunnelEvent } from './tunnel.ts';

/** How long the new process may take to be ready, and the old one to leave. */
const PATIENCE_MS = 20_000;

class Daemon {
  readonly #socket: string;
  readonly #program: string;
  readonly #service: Service;
  #server: LineServer | undefined;

  constructor(file: string, socket: string) {
    this.#socket = socket;
    this.#program = programOf(file);
    const tell = (event: TunnelEvent): void => this.#server?.tell(event);
    this.#service = new Service({ worker: file, tell });
  }
  async serve(): Promise<void> {
    rmSync(this.#socket, { force: true });
    this.#server = await serveLines(this.#socket, (request) => this.#answer(request));
    chmodSync(this.#socket, 0o600);
  }
  #answer(request: Request): Promise<unknown> {
    if (request.do === 'carry') return this.#service.carry(request.order);
    if (request.do === 'follow') return this.#leaveTo(request.program);
    if (request.do === 'end') return this.#end();
    return Promise.resolve(this.#look());
  }
  #look(): Look {
    const { order } = this.#service;
    const status = this.#service.status();
    const { secrets: _, ...shown } = order ?? {};
    return {
      program: this.#program,
      pid: process.pid,
      ...(order === undefined ? {} : { order: shown as Omit<typeof order, 'secrets'> }),
      ...(status === undefined ? {} : { status }),
    };
  }
  async #end(): Promise<void> {
    await this.#service.close();
    setImmediate(() => void this.#server?.close().then(() => process.exit(0)));
  }
  /** Throws, and goes on as before, when the other does not come up. */
  async #leaveTo(program: readonly string[]): Promise<void> {
    const { order, ground } = this.#service;
    if (order === undefined || ground === undefined) throw new Error('nothing is carried');
    const follower = await makeFollower([...program, 'follow', this.#socket], { order, ground }, PATIENCE_MS);
    const estate = await this.#service.leave();
    void this.#server?.close();
    follower.send({ what: 'estate', links: estate?.links ?? [] });
    const took = await follower.hear('took', PATIENCE_MS).then(
      () => true,
      () => false,
    );
    if (took) process.exit(0);
    // It died with the keys in its hands: begin from nothing.
    follower.kill();
    await this.serve();
    await this.#service.carry(order);
  }
  async follow(): Promise<void> {
    // Without a listener the pipe would not keep this process.
    const orphaned = (): never => process.exit(1);
    process.on('disconnect', orphaned);
    say({ what: 'up' });
    const { order, tun, udp } = await hear('ground', PATIENCE_MS);
    const ground = { tun: { ...tun, fd: TUN_FD }, udp: { ...udp, fd: UDP_FD } };
    const prepared = await this.#service.prepare(order, ground);
    say({ what: 'ready' });
    const { links } = await hear('estate', PATIENCE_MS);
    this.#service.begin(prepared, links);
    await this.serve();
    say({ what: 'took' });
    process.off('disconnect', orphaned).disconnect();
  }
}

function run([, file = '', command, socket = '']: readonly string[]): Promise<void> {
  process.title = 'tartan-tunnel';
  // Whoever started it may go, with its terminal.
  for (const signal of ['SIGHUP', 'SIGINT', 'SIGPIPE'] as const) process.on(signal, () => {});
  process.on('SIGTERM', () => process.exit(0));
  const daemon = new Daemon(file, socket);
  return command === 'follow' ? daemon.follow() : daemon.serve();
}

if (isMainThread)
  run(process.argv).catch((error: unknown) => {
    console.error(error);
    process.exit(1);
  });
else void import('./worker.ts');
