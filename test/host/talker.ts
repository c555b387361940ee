/** One process in a namespace that listens at many ports and asks many others at once (./talker-process.ts). */
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type Namespace, PATIENCE } from './namespace.ts';

const PROGRAM = join(import.meta.dirname, 'talker-process.ts');
const PATIENCE_MS = 1200;

export type Target = {
  readonly protocol: 'tcp' | 'udp';
  readonly address: string;
  readonly port: number;
  /** Of the asking end, where the kernel is not to choose it. */
  readonly localAddress?: string;
};
/** `LABEL ADDRESS` of who answered and whom it saw, or `refused` (a reset, an ICMP error), or `silence`. */
export type Answer = string;
export type Request =
  | { readonly do: 'ask'; readonly targets: readonly Target[]; readonly patienceMs: number }
  | { readonly do: 'open'; readonly targets: readonly Target[] }
  | { readonly do: 'count' | 'close' };

export type Talker = {
  readonly title: string;
  readonly netns: Namespace;
  /** All at once; answers in their order. */
  ask(targets: readonly Target[]): Promise<readonly Answer[]>;
  /** Connections that go on, each with data all the time: see `count`. */
  open(targets: readonly Target[]): Promise<void>;
  /** Bytes that came back on each opened connection so far. */
  count(): Promise<readonly number[]>;
  close(): Promise<void>;
  stop(): Promise<void>;
};

/** Callers' targets may be more than that. */
const bare = ({ protocol, address, port, localAddress }: Target): Target => ({
  protocol,
  address,
  port,
  ...(localAddress === undefined ? {} : { localAddress }),
});

/** Resolves when it listens; `title` is what it answers with. */
export async function startTalker(
  netns: Namespace,
  title: string,
  ports: readonly number[],
): Promise<Talker> {
  const child = netns.start([process.execPath, PROGRAM, title, ...ports.map(String)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const { stdin, stdout } = child;
  if (stdin === null || stdout === null) throw new Error('no pipe');
  const waiting = new Map<number, PromiseWithResolvers<readonly (Answer | number)[]>>();
  const lines = createInterface(stdout);
  const ended = once(child, 'exit').then(() => Promise.reject(new Error(`the talker ${title} ended`)));
  await Promise.race([once(lines, 'line'), ended]);
  ended.catch((error: unknown) => waiting.forEach(({ reject }) => reject(error)));
  lines.on('line', (line) => {
    const { id, answers } = JSON.parse(line) as { id: number; answers: (Answer | number)[] };
    waiting.get(id)?.resolve(answers);
    waiting.delete(id);
  });
  let last = 0;
  const perform = (request: Request): Promise<readonly (Answer | number)[]> => {
    const id = (last += 1);
    stdin.write(`${JSON.stringify({ id, request })}\n`);
    const asked = Promise.withResolvers<readonly (Answer | number)[]>();
    waiting.set(id, asked);
    return asked.promise;
  };
  return {
    title,
    netns,
    ask: async (targets) =>
      (await perform({ do: 'ask', targets: targets.map(bare), patienceMs: PATIENCE_MS * PATIENCE })).map(
        String,
      ),
    open: async (targets) => void (await perform({ do: 'open', targets: targets.map(bare) })),
    count: async () => (await perform({ do: 'count' })).map(Number),
    close: async () => void (await perform({ do: 'close' })),
    stop: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, 'exit');
      child.kill('SIGKILL');
      await gone;
    },
  };
}
