/**
 * The BIRD daemon of this node. It is its own process: it goes on when the agent ends, and a new agent finds it by its socket. When it
 * dies it is started again, with graceful restart: the kernel keeps its routes meanwhile, and peers keep theirs.
 *
 *     configure: written beside ─▶ taken by BIRD ─▶ renamed
 *                                      └─ refused: the old one stays, in the daemon and in the file
 */
import { spawn } from 'node:child_process';
import type { Clock } from '#lib/clock.ts';
import type { Problem } from '#model/fault.ts';
import type { SeenBfd, SeenRoute, SeenSession } from '#model/routing.ts';
import { FAMILIES } from '#net/address.ts';
import { readBfd } from './bfd.ts';
import { type Control, openControl } from './control.ts';
import {
  type BirdFiles,
  dropNext,
  filesIn,
  hasPid,
  readConfig,
  readPid,
  takeNext,
  writeNext,
} from './files.ts';
import { type Reply, textOf } from './reply.ts';
import { readRoutes } from './routes.ts';
import { type Passwords, problemsOf, redact, rotatedBy, withPasswords } from './secrets.ts';
import { readSessions } from './sessions.ts';

export type BirdOptions = {
  /** For configuration, socket and pid; boot-scoped. Its path must be short: sockets' paths have at most 107 bytes. */
  readonly directory: string;
  /** What starts the daemon, arguments follow. */
  readonly command: readonly string[];
  readonly clock: Clock;
  /** How long an answer may take. */
  readonly timeoutMs: number;
  /** Said when it is down without our doing, or up again. */
  readonly onChange: (up: boolean, why: string) => void;
};

export type Bird = {
  /** Starts the daemon if there is none. With problems nothing has changed. */
  configure(config: string, passwords: Passwords): Promise<readonly Problem[]>;
  /**
   * Names of sessions that `configure` would end with a farewell, as their passwords are others now: both ends would drop each
   * other's routes.
   */
  rotates(config: string, passwords: Passwords): string[];
  /** As `configure`, by another daemon: the old one goes without a word, and its peers and the kernel keep routes (RFC 4724). */
  replace(config: string, passwords: Passwords): Promise<readonly Problem[]>;
  /** Rejects while the daemon is away. */
  sessions(): Promise<SeenSession[]>;
  /** Those of BFD, which sessions ask for. */
  bfd(): Promise<SeenBfd[]>;
  /** With those that a filter refused. */
  routes(): Promise<SeenRoute[]>;
  /** What goes into the kernel is judged again by its filter. */
  refeed(): Promise<void>;
  isUp(): boolean;
  /** `leave`: the daemon goes on. `stop`: it says goodbye to its peers and has ended; its routes stay in the kernel. */
  close(how: 'leave' | 'stop'): Promise<void>;
};

type State = {
  readonly options: BirdOptions;
  readonly files: BirdFiles;
  readonly ending: AbortController;
  control: Control | undefined;
  /** The daemon is meant to end, and the next one to come. */
  isReplaced: boolean;
  /** As the daemon has it. */
  active: string | undefined;
};

/** Takes over a daemon that is there; none is started before it is configured. */
export async function openBird(options: BirdOptions): Promise<Bird> {
  const files = filesIn(options.directory);
  const state: State = {
    options,
    files,
    ending: new AbortController(),
    control: undefined,
    isReplaced: false,
    active: undefined,
  };
  if (await join(state).catch(() => false)) state.active = readConfig(files);
  let turn: Promise<unknown> = Promise.resolve();
  const ask = async (command: string): Promise<Reply> => {
    const reply = await present(state).ask(command);
    if (reply.failed) throw new Error(`BIRD refuses "${command}": ${textOf(reply)}`);
    return reply;
  };
  const take = (how: typeof reload, config: string, passwords: Passwords): Promise<readonly Problem[]> => {
    const done = turn.then(() => configure(state, how, { config, passwords }));
    turn = done.catch(() => {});
    return done;
  };
  return {
    configure: (config, passwords) => take(reload, config, passwords),
    replace: (config, passwords) => take(replace, config, passwords),
    rotates: (config, passwords) => rotatedBy(state.active ?? '', withPasswords(config, passwords)),
    sessions: async () => readSessions(await ask('show protocols all')),
    bfd: async () =>
      state.active?.includes('protocol bfd') === true ? readBfd(await ask('show bfd sessions')) : [],
    routes: async () => [
      ...readRoutes(await ask('show route all'), false),
      ...readRoutes(await ask('show route filtered all'), true),
    ],
    refeed: async () => {
      for (const family of FAMILIES)
        if (state.active?.includes(`protocol kernel kernel${family} {`))
          await ask(`reload out kernel${family}`);
    },
    isUp: () => state.control !== undefined && !state.isReplaced,
    close: async (how) => {
      state.ending.abort();
      if (how === 'stop') await end(state, state.control, 'down');
      state.control?.close();
    },
  };
}

function present({ control }: State): Control {
  if (control === undefined) throw new Error('BIRD is not running');
  return control;
}

type Wanted = { readonly config: string; readonly passwords: Passwords };

/** `how`: what is done with a daemon that is there. */
async function configure(
  state: State,
  how: typeof reload,
  { config, passwords }: Wanted,
): Promise<readonly Problem[]> {
  const wrong = problemsOf(passwords);
  if (wrong.length > 0) return wrong;
  const text = withPasswords(config, passwords);
  if (state.control !== undefined && text === state.active) return [];
  writeNext(state.files, text);
  const refused = await (state.control === undefined ? begin(state) : how(state, state.control));
  dropNext(state.files);
  if (refused !== undefined) return [{ path: 'bird.conf', message: redact(refused, passwords) }];
  state.active = text;
  return [];
}

/** Why the daemon refuses what is to come, which then is no longer to come; undefined when it has it. */
async function reload({ files }: State, control: Control): Promise<string | undefined> {
  const reply = await control.ask(`configure "${files.next}"`);
  if (reply.failed) return textOf(reply);
  takeNext(files);
  return undefined;
}

/** The same by the daemon's successor. */
async function replace(state: State, control: Control): Promise<string | undefined> {
  const wrong = await check(state);
  if (wrong !== undefined) return wrong;
  state.isReplaced = true;
  try {
    await end(state, control, 'graceful restart');
    return await succeed(state, RECOVERY);
  } finally {
    state.isReplaced = false;
    if (state.control === undefined) void revive(state);
  }
}

const RECOVERY = ['-R'];

async function check({ files, options }: State): Promise<string | undefined> {
  const { code, errors } = await run([...options.command, '-p', '-c', files.next]);
  return code === 0 ? undefined : errors;
}

/** The same by a daemon that is started. */
async function begin(state: State): Promise<string | undefined> {
  return (await check(state)) ?? (await succeed(state));
}

async function succeed(state: State, recovery?: readonly string[]): Promise<string | undefined> {
  const { files } = state;
  const old = readConfig(files);
  takeNext(files);
  const failed = await start(state, recovery);
  if (failed !== undefined && old !== undefined) {
    writeNext(files, old);
    takeNext(files);
  }
  return failed;
}

/** BIRD goes into the background by itself once it listens. */
async function start(
  state: State,
  // One that was killed left its pid, and routes in the kernel: these stay until peers have told all they know.
  recovery: readonly string[] = hasPid(state.files) ? RECOVERY : [],
): Promise<string | undefined> {
  const { files, options } = state;
  const words = ['-c', files.config, '-s', files.socket, '-P', files.pid, ...recovery];
  const { code, errors } = await run([...options.command, ...words]);
  if (code !== 0) return errors;
  await join(state);
  return undefined;
}

/** One that does not answer, or does not end in time, is killed. */
async function end({ files, options }: State, control: Control | undefined, command: string): Promise<void> {
  if (control !== undefined) {
    await control.ask(command).catch(() => {});
    const timer = new AbortController();
    await Promise.race([control.closed, options.clock.sleep(options.timeoutMs, timer.signal)]);
    timer.abort();
  }
  const pid = readPid(files);
  if (pid === undefined) return;
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}

/** Connects, and starts the daemon again when the connection ends. Rejects when there is none. */
async function join(state: State): Promise<boolean> {
  const { files, options, ending } = state;
  const control = await openControl(files.socket, options.timeoutMs);
  state.control = control;
  void control.closed.then(() => {
    state.control = undefined;
    if (ending.signal.aborted || state.isReplaced) return;
    options.onChange(false, 'its control socket was closed');
    void revive(state);
  });
  return true;
}

const FIRST_WAIT_MS = 100;
const LONGEST_WAIT_MS = 30_000;

async function revive(state: State): Promise<void> {
  const { clock, onChange } = state.options;
  const { signal } = state.ending;
  for (let waitMs = FIRST_WAIT_MS; !signal.aborted; waitMs = Math.min(2 * waitMs, LONGEST_WAIT_MS)) {
    await clock.sleep(waitMs, signal);
    if (signal.aborted || state.control !== undefined) return;
    const why = await reviveOnce(state).catch((error: unknown) => String(error));
    if (why === undefined) return onChange(true, 'started again');
    onChange(false, why);
  }
}

/** The connection may have ended without the daemon. */
async function reviveOnce(state: State): Promise<string | undefined> {
  if (await join(state).catch(() => false)) return undefined;
  return start(state);
}

function run(argv: readonly string[]): Promise<{ readonly code: number; readonly errors: string }> {
  const [program = '', ...words] = argv;
  return new Promise((resolve, reject) => {
    const child = spawn(program, words, { stdio: ['ignore', 'ignore', 'pipe'], detached: true });
    let errors = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
    child.on('error', reject);
    // Not `close`: the daemon in the background keeps its standard error.
    child.on('exit', (code) => {
      child.stderr.destroy();
      resolve({ code: code ?? 128, errors: errors.trim() });
    });
  });
}
