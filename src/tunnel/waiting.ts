/** poll(2) over a few descriptors, one of them the eventfd that says that mail has come. */
import type { Mailbox } from './mail.ts';
import type { Memory } from './memory.ts';
import { EAGAIN, EINTR, poll, read } from './sys.ts';

export const POLLIN = 1;
export const POLLOUT = 4;
export const POLLERR = 8;
/** sizeof(struct pollfd): int fd, short events, short revents. */
const POLLFD_BYTES = 8;
/** A worker that blocked for ever could not be stopped when the process exits without telling it. */
const LONGEST_MS = 500;

export class Waiting {
  readonly #memory: Memory;
  readonly #at: number;
  readonly #count: number;
  readonly #eventfd: number;
  readonly #sink: number;

  constructor(memory: Memory, fds: readonly number[], eventfd: number) {
    this.#memory = memory;
    this.#eventfd = eventfd;
    this.#count = fds.length + 1;
    this.#at = memory.reserve(this.#count * POLLFD_BYTES);
    this.#sink = memory.reserve(8);
    for (const [index, fd] of [...fds, eventfd].entries())
      this.#memory.view.setInt32(this.#at + index * POLLFD_BYTES, fd, true);
  }
  /** Until one of them has something (or an error), mail came, or half a second is over; the eventfd is read. */
  wait(): void {
    for (let index = 0; index < this.#count; index += 1)
      this.#memory.view.setUint32(this.#at + index * POLLFD_BYTES + 4, POLLIN, true);
    const result = poll(this.#memory.addressOf(this.#at), this.#count, LONGEST_MS);
    if (result < 0 && result !== -EINTR && result !== -EAGAIN) throw new Error(`poll: errno ${-result}`);
    if (this.#returned(this.#count - 1) !== 0) read(this.#eventfd, this.#memory.addressOf(this.#sink), 8);
  }
  /** POLL* bits of the descriptor at this place. */
  #returned(index: number): number {
    return this.#memory.view.getUint16(this.#at + index * POLLFD_BYTES + 6, true);
  }
  hasError(index: number): boolean {
    return (this.#returned(index) & POLLERR) !== 0;
  }
}

/** A worker leaves device and socket alone until its letterbox is opened: another process may still be using them. */
export class FirstLetter {
  readonly #mailbox: Pick<Mailbox<unknown>, 'hasMail'>;
  readonly #waiting: Waiting;

  constructor(memory: Memory, mailbox: Pick<Mailbox<unknown>, 'hasMail'>, eventfd: number) {
    this.#mailbox = mailbox;
    this.#waiting = new Waiting(memory, [], eventfd);
  }
  wait(): void {
    while (!this.#mailbox.hasMail) this.#waiting.wait();
  }
}

/** Waits until the descriptor takes data again; at most so long. */
export function waitForRoom(memory: Memory, at: number, fd: number, timeoutMs: number): void {
  memory.view.setInt32(at, fd, true);
  memory.view.setUint32(at + 4, POLLOUT, true);
  poll(memory.addressOf(at), 1, timeoutMs);
}
