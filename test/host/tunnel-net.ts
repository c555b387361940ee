/**
 * Nodes with userspace tunnels around a router: node N has 192.168.N.2 and fd00:N::2, and stands for 10.77.N.0/24 and
 * fd77:0:0:N::/64. Each has a subnet of its own, so that the way between two has a middle where it can be narrowed, cut,
 * watched and made to lose.
 */
import { type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { address } from '#net/address.ts';
import { prefix } from '#net/prefix.ts';
import type { TunnelStatus } from '../../src/tunnel/tunnel.ts';
import { makeForwarding, makeNamespace, type Namespace, waitFor } from './namespace.ts';
import type { Command, TextOptions, TextPeer, TextSecrets } from './tunnel-process.ts';

const PROGRAM = join(import.meta.dirname, 'tunnel-process.ts');
export const PORT = 7000;
export const DEVICE = 'tun0';
/** 1500 less IPv6, UDP, frame and tag. */
export const MTU = 1412;

export type Running = {
  /** Lines of standard output, parsed. */
  readonly said: Record<string, unknown>[];
  readonly errors: string[];
  readonly child: ChildProcess;
  tell(command: Command): void;
  status(): Promise<TunnelStatus>;
  /** Ends it in order: its device goes. */
  stop(): Promise<void>;
  kill(): Promise<void>;
};

export type TunnelNode = { readonly number: number; readonly netns: Namespace };

export const innerAddress = (number: number, family: 4 | 6): string =>
  family === 4 ? `10.77.${number}.1` : `fd77:0:0:${number}::1`;
export const outerAddress = (number: number, family: 4 | 6, host = 2): string =>
  family === 4 ? `192.168.${number}.${host}` : `fd00:${number}::${host}`;

export type TunnelNet = {
  readonly router: Namespace;
  readonly nodes: readonly TunnelNode[];
  remove(): void;
};

export async function makeNet(count: number): Promise<TunnelNet> {
  const router = makeNamespace('ph-r');
  await makeForwarding(router);
  const nodes: TunnelNode[] = [];
  for (let number = 1; number <= count; number += 1) {
    const netns = makeNamespace(`ph-${number}`);
    nodes.push({ number, netns });
    await makeForwarding(netns);
    router.ip(`link add n${number} type veth peer name eth0 netns ${netns.name}`);
    for (const family of [4, 6] as const) {
      const length = family === 4 ? 24 : 64;
      router.ip(`addr add ${outerAddress(number, family, 1)}/${length} dev n${number}`);
      netns.ip(`addr add ${outerAddress(number, family)}/${length} dev eth0`);
    }
    router.ip(`link set n${number} up`);
    netns.ip('link set eth0 up');
    for (const family of [4, 6] as const)
      netns.ip(`-${family} route add default via ${outerAddress(number, family, 1)}`);
  }
  return {
    router,
    nodes,
    remove: () => {
      for (const { netns } of nodes) netns.remove();
      router.remove();
    },
  };
}

export function peerOf(number: number, options: { outer?: 4 | 6; publicKeys?: string[] } = {}): TextPeer {
  const { outer = 4, publicKeys } = options;
  return {
    name: `node${number}`,
    endpoint: { address: address(outerAddress(number, outer)), port: PORT },
    prefixes: [prefix(`10.77.${number}.0/24`), prefix(`fd77:0:0:${number}::/64`)],
    ...(publicKeys === undefined ? {} : { publicKeys }),
  };
}

export type StartOptions = Partial<Omit<TextOptions, 'peers' | 'secrets'>> & {
  readonly peers: readonly TextPeer[];
  readonly secrets?: TextSecrets;
};

export function addRoutes(node: TunnelNode): void {
  for (const family of [4, 6] as const) {
    const own = innerAddress(node.number, family);
    if (!node.netns.ip(`-${family} addr show dev ${DEVICE}`).includes(`${own}/`))
      node.netns.ip(
        `addr add ${own}/${family === 4 ? 32 : 128} dev ${DEVICE} ${family === 4 ? '' : 'nodad'}`,
      );
    const all = family === 4 ? '10.77.0.0/16' : 'fd77::/16';
    node.netns.ip(`-${family} route replace ${all} dev ${DEVICE} src ${own}`);
  }
}

/** Starts the node's tunnel, gives its device addresses, and routes to its peers. */
export async function startNode(node: TunnelNode, options: StartOptions): Promise<Running> {
  const child = node.netns.start([process.execPath, PROGRAM], { stdio: ['pipe', 'pipe', 'pipe'] });
  const { stdin, stdout, stderr } = child;
  if (stdin === null || stdout === null || stderr === null) throw new Error('no pipes');
  const said: Record<string, unknown>[] = [];
  const errors: string[] = [];
  stdin.on('error', () => {}); // it may have ended
  createInterface({ input: stdout }).on('line', (line) =>
    said.push(JSON.parse(line) as Record<string, unknown>),
  );
  stderr.on('data', (text: Buffer) => errors.push(text.toString()));
  const write = (what: object): void => void stdin.write(`${JSON.stringify(what)}\n`);
  write({ node: `node${node.number}`, device: DEVICE, mtu: MTU, port: PORT, ...options });
  try {
    await waitFor(
      `the tunnel of node ${node.number}`,
      () => {
        if (child.exitCode !== null) throw new Error(`it ended: ${errors.join('')}`);
        return said.some(({ event }) => event === 'started');
      },
      30_000,
    );
    addRoutes(node);
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
  const ended = (): Promise<unknown> =>
    waitFor('the process to end', () => child.exitCode !== null || child.signalCode !== null, 30_000);
  return {
    said,
    errors,
    child,
    tell: write,
    status: async () => {
      const before = said.filter((line) => 'status' in line).length;
      write({ do: 'status' });
      const line = await waitFor('a status', () => said.filter((line) => 'status' in line)[before], 30_000);
      return line['status'] as TunnelStatus;
    },
    stop: async () => {
      stdin.end();
      await ended();
    },
    kill: async () => {
      child.kill('SIGKILL');
      await ended();
    },
  };
}

/** Whether so many pings in a row are answered; each has 5 seconds. */
export async function pings(
  from: TunnelNode,
  to: number,
  family: 4 | 6,
  words: readonly string[] = [],
): Promise<boolean> {
  const argv = ['ping', '-n', '-q', '-c', '2', '-i', '0.05', '-W', '5', ...words, innerAddress(to, family)];
  return (await from.netns.run(argv)).code === 0;
}
