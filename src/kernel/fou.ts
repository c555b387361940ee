/**
 * UDP ports of tunnels. The kernel loads no module for them by itself, and tells no events: a port that somebody else
 * removed is missed when everything is looked at again.
 */
import type { Step } from '#model/diff.ts';
import type { FouPortItem } from '#model/host.ts';
import type { Failure } from './kernel.ts';
import { askFouPorts, FOU_GENL_NAME, putFouPort, readFouPort, removeFouPort } from './netlink/fou.ts';
import { findFamily } from './netlink/generic.ts';
import { MessageWriter } from './netlink/message.ts';
import { NetlinkError, openNetlink, type NetlinkSocket } from './netlink/socket.ts';
import { NETLINK_GENERIC } from './sys.ts';

/** What the kernel says when there is no such port any more. */
const GONE: ReadonlySet<string> = new Set(['EINVAL', 'ENOENT']);

export class Fou implements Disposable {
  readonly #run: <T>(work: () => T) => T;
  readonly #writer = new MessageWriter();
  #socket: NetlinkSocket | undefined;
  /** Asking for it makes a kernel without it look for a module: done once, and again only to add a port. */
  #family: number | 'lacking' | undefined;

  constructor(run: <T>(work: () => T) => T) {
    this.#run = run;
  }
  [Symbol.dispose](): void {
    this.#socket?.[Symbol.dispose]();
  }

  /** Ports of ours. */
  ports(): FouPortItem[] {
    const socket = (this.#socket ??= this.#run(() => openNetlink(NETLINK_GENERIC)));
    this.#family ??= findFamily(socket, this.#writer, FOU_GENL_NAME) ?? 'lacking';
    if (this.#family === 'lacking') return [];
    this.#writer.clear();
    askFouPorts(this.#writer, this.#family);
    return socket.dump(this.#writer, readFouPort);
  }

  /** Tries every step on a port, in order. */
  apply(steps: readonly Step[]): Failure[] {
    return steps.flatMap((step) => {
      try {
        this.#request(step);
        return [];
      } catch (error) {
        if (!(error instanceof NetlinkError)) throw error;
        if (step.op === 'remove' && GONE.has(error.code)) return [];
        return [{ step, code: error.code, message: error.message }];
      }
    });
  }

  #request(step: Step): void {
    if (this.#family === 'lacking') this.#family = undefined;
    const there = this.ports();
    if (typeof this.#family !== 'number' || this.#socket === undefined) throw lacking();
    this.#writer.clear();
    if (step.op === 'remove') removeFouPort(this.#writer, this.#family, step.was as FouPortItem);
    else {
      const { local, port } = step.item as FouPortItem;
      if (there.some((each) => each.local === local && each.port === port)) return;
      putFouPort(this.#writer, this.#family, step.item as FouPortItem);
    }
    this.#socket.request(this.#writer);
  }
}

function lacking(): NetlinkError {
  const reason = 'EOPNOTSUPP: the kernel lacks foo-over-UDP, or nobody loaded it: modprobe -a fou fou6';
  return new NetlinkError({ code: 'EOPNOTSUPP', errno: 95, reason });
}
