/**
 * Deletes links in the background. The kernel waits some 20 ms for its readers at each deletion, however many links it
 * takes, and holds the lock of all link, address and route changes meanwhile. So links gather until no more are asked
 * for, are put in one group and the group is deleted, on a pool thread; what is asked for meanwhile makes the next one.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { SharedRun } from '#lib/shared-run.ts';
import { REAPER_GROUP } from '#model/numbers.ts';
import { deleteGroup, groupLink } from './netlink/link.ts';
import { MessageWriter } from './netlink/message.ts';
import { NetlinkError, openNetlink, type NetlinkSocket } from './netlink/socket.ts';
import { findLink, type Scope } from './scope.ts';

/** Group numbers go round; the first one marks newborn links. */
const GROUPS = 0xffff;
/** Links gather until none was asked for during `quiet`, at most for `most`; milliseconds. */
const GATHER = { quiet: 4, most: 100 } as const;

export class Reaper {
  readonly #scope: Scope;
  readonly #socket: NetlinkSocket;
  readonly #writer = new MessageWriter();
  readonly #runs = new SharedRun<string>((names) => this.#deleteAll(names), gather);
  #group = 0;
  #closed = false;

  constructor(scope: Scope) {
    this.#scope = scope;
    this.#socket = scope.run(() => openNetlink());
  }
  /** Once nothing is under way. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    void this.#runs.ended().then(() => this.#socket[Symbol.dispose]());
  }
  /** Resolves when the links are gone; those that are not there, or not ours, are left out. */
  reap(names: readonly string[]): Promise<void> {
    return this.#runs.ask(names);
  }
  async #deleteAll(names: ReadonlySet<string>): Promise<void> {
    const writer = this.#writer;
    writer.clear();
    this.#group = (this.#group % GROUPS) + 1;
    const group = REAPER_GROUP + this.#group;
    for (const name of names) {
      const row = findLink(this.#scope, name);
      if (row?.ours === true) groupLink(writer, row.index, group);
    }
    if (writer.starts.length === 0) return;
    this.#socket.batch(writer);
    writer.clear();
    deleteGroup(writer, group);
    const { refusals } = await this.#socket.batchAsync(writer);
    for (const refusal of refusals.values()) {
      if (refusal.code !== 'ENODEV') throw new NetlinkError(refusal);
    }
  }
}

async function gather(waiting: () => number): Promise<void> {
  const begun = performance.now();
  for (let before = -1; before < waiting() && performance.now() - begun < GATHER.most;) {
    before = waiting();
    await sleep(GATHER.quiet);
  }
}
