/** Controllers as processes: each by a settings file and a place in the network of its own. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { ClusterStatus } from '../../src/model/cluster-status.ts';
import type { Lease } from '../../src/model/lease.ts';
import { Follower } from '../../src/stores/contract.ts';
import type { Store } from '../../src/stores/store.ts';
import { type Daemon, startDaemon } from '../runtimes/daemon.ts';
import { execute, type Output } from './namespace.ts';

const PROGRAM = join(import.meta.dirname, '../../dist/tartan');

export const noProgram = existsSync(PROGRAM) ? undefined : 'dist/tartan is not built: make build';

/** Short, so that a test is; a busy machine then changes leaders now and then, which harms nothing. */
export const SETTINGS = {
  apiVersion: 'tartan.dev/v1',
  kind: 'Settings',
  profile: 'flannel',
  node: { name: 'controller' },
  network: { ipv4: { range: '10.77.0.0/16' } },
  addresses: { blocks: { reclaimSeconds: 10 } },
  controller: {
    lease: { durationSeconds: 5, deadlineSeconds: 3, retrySeconds: 1 },
    graceSeconds: 4,
    answerSeconds: 4,
    brake: { minimum: 5 },
  },
};

export type Controllers = AsyncDisposable & {
  /** `words` stand before the program: what changes the world that it sees. */
  start(name: string, store: object, words?: readonly string[], env?: NodeJS.ProcessEnv): Daemon;
  /** `tartan WORDS --config …` with that controller's settings. */
  tartan(name: string, ...words: string[]): Promise<Output>;
};

export function openControllers(directory: string, more: object = {}): Controllers {
  const controller = { ...SETTINGS.controller, ...more };
  const running: Daemon[] = [];
  const fileOf = (name: string): string => join(directory, `${name}.yaml`);
  return {
    start: (name, store, words = [], env = {}) => {
      mkdirSync(directory, { recursive: true });
      writeFileSync(fileOf(name), stringify({ ...SETTINGS, controller, store }));
      const argv = [...words, PROGRAM, 'controller', '--config', fileOf(name)];
      const daemon = startDaemon(argv, join(directory, `${name}.log`), { env: { ...process.env, ...env } });
      running.push(daemon);
      return daemon;
    },
    tartan: (name, ...words) => execute([PROGRAM, ...words, '--config', fileOf(name)]),
    [Symbol.asyncDispose]: async () => {
      await Promise.all(running.map((daemon) => daemon.stop()));
    },
  };
}

export type Written = {
  /** Who. */
  readonly by: string;
  /** Whose the lease was at that moment, in the order in which the store did everything. */
  readonly holder: string;
  readonly revision: number;
};

/** What controllers write, as the store tells it: to a reader that nothing comes between. */
export class Witness {
  readonly leases: Follower;
  readonly statuses: Follower;

  constructor(store: Store, signal: AbortSignal) {
    this.leases = new Follower(store, 'Lease', signal);
    this.statuses = new Follower(store, 'ClusterStatus', signal);
  }

  get holder(): string {
    const [found] = this.leases.objects.values();
    return (found?.value as Lease | undefined)?.holderIdentity ?? '';
  }
  get status(): ClusterStatus | undefined {
    const [found] = this.statuses.objects.values();
    return found?.value as ClusterStatus | undefined;
  }

  /** Each state of the cluster that was written, with the holder of the lease then. Revisions of etcd order both. */
  written(): Written[] {
    const holders = puts(this.leases).map(({ version, value }) => ({
      revision: Number(version),
      holder: (value as Lease).holderIdentity,
    }));
    return puts(this.statuses).map(({ version, value }) => {
      const revision = Number(version);
      const before = holders.findLast((one) => one.revision < revision);
      return { by: (value as ClusterStatus).controller, holder: before?.holder ?? '', revision };
    });
  }
}

function puts(follower: Follower) {
  return follower.events.flatMap((event) => (event.type === 'put' ? [event.object] : []));
}
