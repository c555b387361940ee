/** What the tests of the road `bgp` share: labs of real agents, a router of somebody else's between them, and pings that count. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Routes } from '../../src/api/routes.ts';
import type { Lab } from '../../src/lab/lab.ts';
import { allReach, renderMatrix } from '../../src/lab/matrix.ts';
import { routerNetns } from '../../src/lab/topology.ts';
import { execute, waitFor } from './namespace.ts';

export const DEADLINE_MS = 60_000;

/** `ip netns exec` in the lab's router. */
export function inRouter({ name }: Pick<Lab, 'name'>, ...words: string[]): string {
  return execFileSync('ip', ['netns', 'exec', routerNetns(name), ...words], { encoding: 'utf8' });
}

export type Daemon = { readonly directory: string; stop(): void };

export type Frr = Daemon & { vtysh(...commands: string[]): string };

/** FRR's zebra and other daemons in the router, each with its configuration in FRR's own language. */
export async function startFrr(
  lab: Pick<Lab, 'name'>,
  configs: Readonly<Record<string, string>>,
): Promise<Frr> {
  const directory = mkdtempSync(join(tmpdir(), 'bg-frr-'));
  const at = (name: string): string => join(directory, name);
  // Its daemons run as their own user.
  execFileSync('chown', ['frr:frr', directory]);
  const daemons = Object.entries({ zebra: '\n', ...configs });
  for (const [name, config] of daemons) {
    writeFileSync(at(`${name}.conf`), config);
    const files = ['-f', at(`${name}.conf`), '-i', at(`${name}.pid`), '--log', `file:${at(`${name}.log`)}`];
    const sockets = ['-z', at('zserv'), '--vty_socket', directory];
    inRouter(
      lab,
      `/usr/lib/frr/${name}`,
      '-d',
      '-P',
      '0',
      ...sockets,
      ...files,
      ...(name === 'bfdd' ? ['--bfdctl', at('bfdd.sock')] : []),
    );
  }
  const vtysh = (...commands: string[]): string =>
    inRouter(lab, 'vtysh', '--vty_socket', directory, ...commands.flatMap((command) => ['-c', command]));
  return {
    directory,
    vtysh,
    stop: () =>
      stopDaemons(
        directory,
        daemons.map(([name]) => `${name}.pid`),
      ),
  };
}

/** BIRD in the router, by hand. */
export async function startBird(lab: Lab, config: string): Promise<Daemon> {
  const directory = mkdtempSync(join(tmpdir(), 'bg-bird-'));
  const at = (name: string): string => join(directory, name);
  writeFileSync(at('bird.conf'), config);
  inRouter(lab, 'bird', '-c', at('bird.conf'), '-s', at('bird.ctl'), '-P', at('bird.pid'));
  return { directory, stop: () => stopDaemons(directory, ['bird.pid']) };
}

function stopDaemons(directory: string, pids: readonly string[]): void {
  for (const file of pids) {
    try {
      process.kill(Number(readFileSync(join(directory, file), 'utf8')), 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
  }
  rmSync(directory, { recursive: true, force: true });
}

/** The directory of Secrets, for root alone. */
export function writeSecret(
  directory: string,
  [name, key]: readonly [string, string],
  password: string,
): void {
  mkdirSync(join(directory, name), { recursive: true });
  writeFileSync(join(directory, name, key), `${password}\n`, { mode: 0o600 });
}

export async function must(lab: Lab, where: string, ...words: string[]): Promise<string> {
  const { code, stdout, stderr } = await lab.exec(where, words);
  assert.equal(code, 0, `${words.join(' ')}: ${stderr}`);
  return stdout;
}

export async function routesOf(lab: Lab, node: string): Promise<Routes> {
  const { stdout, stderr } = await lab.tartan(node, 'routes', '-o', 'json');
  assert.notEqual(stdout, '', stderr);
  return JSON.parse(stdout) as Routes;
}

/** Until what the node says holds; the error shows what it said last. */
export async function awaitRoutes(
  lab: Lab,
  node: string,
  what: string,
  holds: (routes: Routes) => boolean,
): Promise<Routes> {
  let last: Routes | undefined;
  try {
    return await waitFor(
      `${node}: ${what}`,
      async () => {
        last = await routesOf(lab, node);
        return holds(last) && last;
      },
      DEADLINE_MS,
    );
  } catch (error) {
    throw new Error(`${String(error)}\n${JSON.stringify(last, undefined, 2)}`, { cause: error });
  }
}

/** Prefixes of the kernel's routes that BIRD wrote on a node. */
export async function learnedBy(lab: Lab, node: string): Promise<string[]> {
  const lists = await Promise.all(
    ['-4', '-6'].map((family) => must(lab, node, 'ip', '-j', family, 'route', 'show', 'proto', 'bird')),
  );
  return lists
    .flatMap((list) => (JSON.parse(list || '[]') as { dst: string }[]).map(({ dst }) => dst))
    .sort();
}

export function birdPid(lab: Lab, node: string): number {
  const run = lab.nodes.find(({ name }) => name === node)?.paths.run ?? assert.fail(node);
  return Number(readFileSync(join(run, 'bird/bird.pid'), 'utf8'));
}

/** Of a process; of one that has ended there are none, also while nobody has waited for it. */
export function wordsOf(pid: number): string {
  return existsSync(`/proc/${pid}/cmdline`) ? readFileSync(`/proc/${pid}/cmdline`, 'utf8') : '';
}

export async function assertAllReach(lab: Lab): Promise<void> {
  let reaches = await lab.matrix();
  for (let round = 0; round < 6 && !allReach(reaches); round += 1) reaches = await lab.matrix();
  assert.ok(allReach(reaches), `\n${renderMatrix(reaches)}`);
}

/** Pings of 100/s from a pod to each address while the work is done; throws unless all come back. */
export async function withoutLoss(
  lab: Lab,
  from: string,
  addresses: readonly string[],
  work: () => Promise<void>,
): Promise<void> {
  const netns = lab.pods().find(({ name }) => name === from)?.netns ?? assert.fail(from);
  const pings = addresses.map((address) => {
    const child = spawn('ip', ['netns', 'exec', netns, 'ping', '-n', '-i', '0.01', address], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
    const ended = new Promise<void>((resolve) => child.on('close', () => resolve()));
    return { address, child, ended, read: () => output };
  });
  try {
    await work();
    // What is lost a moment later counts too.
    await new Promise((resolve) => setTimeout(resolve, 1000));
  } finally {
    for (const { child } of pings) child.kill('SIGINT');
    await Promise.all(pings.map(({ ended }) => ended));
  }
  for (const { address, read } of pings) {
    const answered = new Set([...read().matchAll(/icmp_seq=(\d+)/g)].map(([, number]) => Number(number)));
    const last = Math.max(0, ...answered);
    // What was sent after the last answer may be on its way.
    const lost = Array.from({ length: last }, (_, index) => index + 1).filter(
      (number) => !answered.has(number),
    );
    assert.ok(last > 50, `${address}: only ${last} pings\n${read().slice(-400)}`);
    assert.deepEqual(lost, [], `${address}: lost of ${last}`);
  }
}

export async function isInstalled(program: string): Promise<boolean> {
  return (await execute(['sh', '-c', `command -v ${program}`])).code === 0;
}
