/**
 * One node for a test: a network namespace on an underlay, and a CNI provider in it. `startNode` runs Tartan's agent
 * and its executable; `startReference` puts Debian's reference plugins in the same place. Both answer `cni()` alike,
 * so a suite is written once. `stop` leaves nothing: no process, namespace or file.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { stringify } from 'yaml';
import { execute, makeForwarding, makeNamespace, waitFor, type Namespace, type Output } from './namespace.ts';

export const REFERENCE_PLUGINS = '/usr/lib/cni';
const ROOT = resolve(import.meta.dirname, '../..');
const SHIPPED = join(ROOT, 'dist/tartan');
const EXECUTABLE = join(ROOT, 'dist/tartan-cni');

/** Text goes in as it is, an object as JSON; or a standard input that is closed, or a directory. */
export type Stdin = string | object | typeof CLOSED | typeof UNREADABLE;
export const CLOSED = Symbol('closed');
export const UNREADABLE = Symbol('unreadable');
export type Environment = Readonly<Record<string, string | undefined>>;

export type ExecOptions = {
  /** Which executable of `bin`; default: this host's own plugin. */
  readonly type?: string;
  /** Words before the executable, as `timeout -s KILL 0.01`. */
  readonly prefix?: readonly string[];
};

/** A place where CNI requests are executed. */
export type CniHost = {
  readonly netns: Namespace;
  /** Private directory of this node; gone after stop. */
  readonly directory: string;
  /** Where the executables are; the value of CNI_PATH. */
  readonly bin: string;
  /** Executes a plugin with nothing but `environment`; a string goes to stdin as it is. */
  cni(
    verb: string | undefined,
    environment: Environment,
    config: Stdin,
    options?: ExecOptions,
  ): Promise<Output>;
  stop(): Promise<void>;
};

export type Node = CniHost & {
  readonly settingsFile: string;
  readonly socket: string;
  readonly state: string;
  /** Process id of the running agent. */
  pid(): number;
  log(): string;
  /** A command of the program on this node's settings: `run(['status', '-o', 'json'])`. */
  run(words: readonly string[]): Promise<Output>;
  /** SIGKILL, and until it is gone. */
  kill(): Promise<void>;
  /** Starts the agent (again), of another build where one is named, and waits until it serves. */
  restart(program?: string): Promise<void>;
};

/** Where nodes meet: a bridge in its own namespace, 172.30.0.0/24 and fd30::/64; the bridge has .254 and ::fe. */
export type Underlay = {
  readonly netns: Namespace;
  plug(node: Namespace, index: number): void;
  remove(): void;
};

export async function makeUnderlay(label: string): Promise<Underlay> {
  const netns = makeNamespace(`${label}-sw`);
  await makeForwarding(netns);
  netns.ip('link add br0 type bridge');
  netns.ip('link set br0 up');
  netns.ip('addr add 172.30.0.254/24 dev br0');
  netns.ip('addr add fd30::fe/64 dev br0 nodad');
  return {
    netns,
    plug: (node, index) => {
      netns.ip(`link add p${index} type veth peer name eth0 netns ${node.name}`);
      netns.ip(`link set p${index} master br0 up`);
      node.ip('link set eth0 up');
      node.ip(`addr add 172.30.0.${index}/24 dev eth0`);
      node.ip(`addr add fd30::${index}/64 dev eth0 nodad`);
      node.ip('route add default via 172.30.0.254');
      node.ip('route add default via fd30::fe');
    },
    remove: () => netns.remove(),
  };
}

function redirection(stdin: Stdin): string {
  if (stdin === CLOSED) return '<&-';
  return stdin === UNREADABLE ? '</' : '';
}

async function executePlugin(
  host: { netns: Namespace; bin: string },
  call: {
    path: string;
    verb: string | undefined;
    environment: Environment;
    stdin: Stdin;
    prefix?: readonly string[] | undefined;
  },
): Promise<Output> {
  const given = { CNI_COMMAND: call.verb, CNI_PATH: host.bin, ...call.environment };
  const env: NodeJS.ProcessEnv = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' };
  for (const [key, value] of Object.entries(given)) if (value !== undefined) env[key] = value;
  const redirect = redirection(call.stdin);
  const program =
    redirect === '' ? [...(call.prefix ?? []), call.path] : ['sh', '-c', `exec "$0" ${redirect}`, call.path];
  const input = typeof call.stdin === 'string' ? call.stdin : JSON.stringify(call.stdin);
  return execute(['nsenter', `--net=${host.netns.path}`, ...program], {
    env,
    input: redirect === '' ? input : '',
    timeoutMs: 20_000,
  });
}

async function makeNodeNamespace(name: string, index: number, underlay: Underlay | undefined) {
  const netns = makeNamespace(name);
  await makeForwarding(netns);
  const own = underlay === undefined ? await makeUnderlay(name) : undefined;
  (underlay ?? own)?.plug(netns, index);
  return { netns, remove: () => [netns, own].forEach((made) => made?.remove()) };
}

export type NodeOptions = { readonly underlay?: Underlay; readonly index?: number };
/** The mount namespace in which an agent lives beside other programs, by one of its processes; ended with the node. */
export type AgentRoom = { readonly pid: number; stop(): Promise<void> };

/** A node with the reference plugins. `plugin`: which one a `cni()` without type executes. */
export async function startReference(plugin: string, options: NodeOptions = {}): Promise<CniHost> {
  const { netns, remove } = await makeNodeNamespace(
    `ref-${plugin}-${options.index ?? 1}`,
    options.index ?? 1,
    options.underlay,
  );
  const directory = mkdtempSync(join(tmpdir(), 'bx-ref-'));
  const host = { netns, bin: REFERENCE_PLUGINS };
  return {
    ...host,
    directory,
    cni: (verb, environment, stdin, { type = plugin, prefix } = {}) =>
      executePlugin(host, { path: join(REFERENCE_PLUGINS, type), verb, environment, stdin, prefix }),
    stop: async () => {
      remove();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Why Tartan itself cannot be started from this tree, or undefined. TARTAN_FROM_SOURCE=1 runs the sources as they are. */
export function whyNoTartan(): string | undefined {
  const missing = [EXECUTABLE, ...agentProgram()].filter((file) => !existsSync(file));
  return missing.length === 0 ? undefined : `not built: ${missing.join(', ')} (npm run build)`;
}

function agentProgram(): string[] {
  const source = process.env.TARTAN_FROM_SOURCE !== undefined;
  return source ? [process.execPath, join(ROOT, 'src/main.ts')] : [SHIPPED];
}

type Paths = { run: string; state: string; store: string; bin: string; conf: string; etc: string };

function makePaths(directory: string, store: string | undefined): Paths {
  const at = (name: string): string => join(directory, name);
  const paths = {
    run: at('run'),
    state: at('state'),
    store: store ?? at('store'),
    bin: at('bin'),
    conf: at('net.d'),
    etc: at('etc'),
  };
  for (const path of Object.values(paths)) mkdirSync(path, { recursive: true });
  return paths;
}

function installExecutable(paths: Paths): string {
  const socket = join(paths.run, 'cni.sock');
  for (const name of ['tartan-cni', 'loopback']) {
    copyFileSync(EXECUTABLE, join(paths.bin, name));
    writeFileSync(join(paths.bin, `${name}.socket`), `${socket}\n`);
  }
  // IPAM plugins are looked for on CNI_PATH like any other; the rest may come after us in a chain.
  for (const name of ['host-local', 'static', 'tuning', 'firewall', 'bandwidth', 'portmap', 'sbr'])
    symlinkSync(join(REFERENCE_PLUGINS, name), join(paths.bin, name));
  return socket;
}

function mergeSettings(
  name: string,
  settings: Record<string, unknown>,
  paths: Paths,
): Record<string, unknown> {
  return {
    apiVersion: 'tartan.dev/v1',
    kind: 'Settings',
    profile: 'flannel',
    ...settings,
    node: { name },
    store: settings.store ?? { type: 'directory', path: paths.store },
    paths: { run: paths.run, state: paths.state, cniBin: paths.bin, cniConf: paths.conf, etc: paths.etc },
  };
}

/** A node with Tartan's agent and executable; `settings` is settings.yaml but for node, paths and, unless it is given, store. */
export async function startNode(
  name: string,
  settings: Record<string, unknown> = {},
  options: NodeOptions & {
    readonly store?: string;
    /** Where the node is already: it stays when the node is stopped. */
    readonly place?: Namespace;
    /** Before the agent starts for the first time: a command of the program on the node's settings. */
    readonly before?: (run: Node['run'], directory: string) => Promise<void>;
    readonly room?: (netns: Namespace, directory: string) => Promise<AgentRoom>;
  } = {},
): Promise<Node> {
  const made = options.place && { netns: options.place, remove: () => undefined };
  const { netns, remove } = made ?? (await makeNodeNamespace(name, options.index ?? 1, options.underlay));
  const directory = mkdtempSync(join(tmpdir(), `bx-${name}-`));
  const paths = makePaths(directory, options.store);
  const socket = installExecutable(paths);
  const settingsFile = join(directory, 'settings.yaml');
  const logFile = join(directory, 'agent.log');
  writeFileSync(settingsFile, stringify(mergeSettings(name, settings, paths)));
  const host = { netns, bin: paths.bin };
  const room = await options.room?.(netns, directory).catch((error: unknown) => {
    remove();
    throw error;
  });
  const enter =
    room === undefined
      ? ['nsenter', `--net=${netns.path}`]
      : ['nsenter', '--target', String(room.pid), '--mount', '--net'];
  let agent: ChildProcess | undefined;
  const log = (): string => (existsSync(logFile) ? readFileSync(logFile, 'utf8') : '');
  const cni: CniHost['cni'] = (verb, environment, stdin, { type = 'tartan-cni', prefix } = {}) =>
    executePlugin(host, { path: join(paths.bin, type), verb, environment, stdin, prefix });

  async function end(signal: NodeJS.Signals): Promise<void> {
    if (agent === undefined || agent.exitCode !== null || agent.signalCode !== null) return;
    const gone = new Promise((done) => agent?.once('exit', done));
    agent.kill(signal);
    await gone;
  }
  async function restart(program?: string): Promise<void> {
    await end('SIGTERM');
    const out = openSync(logFile, 'a');
    const own = program === undefined ? agentProgram() : [program];
    const words = [...enter.slice(1), ...own, 'agent'];
    agent = spawn('nsenter', [...words, '--config', settingsFile], { stdio: ['ignore', out, out] });
    let last = 'no socket';
    const serves = async (): Promise<boolean> => {
      if (agent?.exitCode !== null) throw new Error(`the agent of ${name} ended:\n${log()}`);
      if (!existsSync(socket) || !statSync(socket).isSocket()) return false;
      const { name: network = 'tartan' } = (settings.network ?? {}) as { name?: string };
      const status = await cni('STATUS', {}, { cniVersion: '1.1.0', name: network, type: 'tartan-cni' });
      last = status.stdout;
      return status.code === 0;
    };
    try {
      await waitFor(`the agent of ${name} to serve`, serves, 20_000);
    } catch (error) {
      throw new Error(`${String(error)}; STATUS: ${last}; its log:\n${log()}`, { cause: error });
    }
  }
  async function stop(): Promise<void> {
    await end('SIGTERM');
    await room?.stop();
    remove();
    rmSync(directory, { recursive: true, force: true });
  }
  const node: Node = {
    ...host,
    directory,
    settingsFile,
    socket,
    state: paths.state,
    cni,
    log,
    restart,
    stop,
    run: (words) => execute([...enter, ...agentProgram(), ...words, '--config', settingsFile]),
    pid: () => agent?.pid ?? 0,
    kill: () => end('SIGKILL'),
  };
  try {
    await options.before?.((words) => node.run(words), directory);
    await restart();
  } catch (error) {
    await stop();
    throw error;
  }
  return node;
}
