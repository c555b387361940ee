/**
 * One claimant of blocks, as a process of its own: takes addresses for pods and gives them back, without end or so many times, and
 * writes each hand-over to a file of its own before it counts, as an agent writes its ledger. What the file says after a kill is what
 * the process had handed out at that moment, or one hand-over less.
 *
 *     node blocks-claimant.ts STORE NAME LEDGER TIMES
 */
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { BlockHolder, type Scene } from '../../src/agent/addresses/blocks-holder.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { Fault } from '../../src/model/fault.ts';
import { plainPool } from '../../src/ipam/blocks/pool-book.ts';
import { type Address, address } from '../../src/net/address.ts';
import { prefix } from '../../src/net/prefix.ts';
import { openDirectoryStore } from '../../src/stores/directory.ts';

export const RACE_POOL = prefix('10.70.0.0/25');

/** Fewer blocks than claimants want: they borrow of each other. */
export const RACE_SCENE: Scene = {
  pools: [plainPool('race', RACE_POOL, 28)],
  rules: { strictAffinity: false, maxBlocksPerNode: 1 },
  reserved: [],
  foreign: [],
};

/** What a claimant's file says of its pods; a last line that was cut short was not written. */
export function readLedger(path: string): Map<string, Address> {
  const pods = new Map<string, Address>();
  const lines = existsSync(path) ? readFileSync(path, 'utf8').split('\n').slice(0, -1) : [];
  for (const line of lines) {
    const [sign, pod = '', ip = ''] = line.split(' ');
    if (sign === '+') pods.set(pod, address(ip));
    else pods.delete(pod);
  }
  return pods;
}

async function takeOne(holder: BlockHolder, pod: string): Promise<Address> {
  const next = (): Address | undefined => holder.shelf.take(pod, holder.shelf.blocks(), () => true);
  const obtain = async (): Promise<Address> => {
    for (;;) {
      const found = next();
      if (found !== undefined) return found;
      await holder.obtain(RACE_SCENE);
    }
  };
  return next() ?? holder.exclusively(obtain);
}

async function run(store: string, name: string, ledger: string, times: number): Promise<void> {
  const opened = openDirectoryStore(store);
  const holder = new BlockHolder({ store: opened, node: name, clock: systemClock });
  const pods = readLedger(ledger);
  for (const [pod, ip] of pods) holder.shelf.adopt(pod, ip);
  await holder.begin();
  for (let done = 0; done < times; done += 1) {
    const pod = `${name}-${process.pid}-${done}`;
    try {
      const ip = await takeOne(holder, pod);
      appendFileSync(ledger, `+ ${pod} ${ip}\n`);
      pods.set(pod, ip);
      process.stdout.write('.');
    } catch (error) {
      if (!(error instanceof Fault && error.code === 'addresses-exhausted')) throw error;
    }
    // Now and then some pods go, and what is spare goes back.
    if (pods.size > 12 || Math.random() < 0.2) await removeSome(holder, ledger, pods);
  }
  opened.close();
}

async function removeSome(holder: BlockHolder, ledger: string, pods: Map<string, Address>): Promise<void> {
  for (const [pod, ip] of [...pods].slice(0, Math.ceil(pods.size / 2))) {
    appendFileSync(ledger, `- ${pod}\n`);
    pods.delete(pod);
    holder.shelf.release(pod);
    holder.shelf.settle(ip);
  }
  for (const block of holder.shelf.blocks()) await holder.giveBack(block, holder.shelf.spareOf(block));
}

const [, script, store = '', name = '', ledger = '', times = '0'] = process.argv;
if (script === import.meta.filename)
  await run(store, name, ledger, Number(times)).then(() => process.exit(0));
