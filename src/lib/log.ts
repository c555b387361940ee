/** Structured logs, one JSON object a line on stderr (journald and container runtimes keep them as they are). */
import { writeSync } from 'node:fs';
import { type Logger as PinoLogger, pino } from 'pino';
import { given } from './given.ts';

export type Logger = Pick<PinoLogger, 'debug' | 'info' | 'warn' | 'error'>;

/** Names of fields whose values never reach a log. */
const SECRETS = ['password', 'psk', 'privateKey', 'secret', 'token'];

/** The last lines of the log, for `tartan support`: not every host keeps what an agent writes. */
export class LogTail {
  readonly #lines: string[] = [];
  write(line: string): void {
    this.#lines.push(line);
    if (this.#lines.length > TAIL_LINES) this.#lines.shift();
  }
  text(): string {
    return this.#lines.join('');
  }
}

const TAIL_LINES = 2000;

export function openLog(level: string, node: string, tail: LogTail): Logger {
  const paths = SECRETS.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]);
  const write = (line: string): void => {
    writeToStderr(line);
    tail.write(line);
  };
  return pino({ level, base: { node }, redact: paths, timestamp: pino.stdTimeFunctions.isoTime }, { write });
}

/**
 * A log that cannot be written (its disk is full, its reader is gone) must not stop the agent: the line is lost, but for
 * the tail. Pino's own destination tries for ever.
 */
function writeToStderr(line: string): void {
  try {
    for (let rest = Buffer.from(line); rest.length > 0;) rest = rest.subarray(writeSync(2, rest));
  } catch {
    // There is nobody left to tell.
  }
}

/** The last events that an operator should see, newest last; status shows them. */
export type Event = {
  readonly time: string;
  readonly severity: 'info' | 'warning' | 'error';
  readonly text: string;
  /** Whom it is about, where that is a pod. */
  readonly pod?: { readonly namespace: string; readonly name: string; readonly uid?: string };
  /** Whom it is about, where that is another node than the one that tells it. */
  readonly aboutNode?: string;
};

export class Events {
  readonly #log: Logger;
  readonly #kept: Event[] = [];
  /** Told of each too. */
  onAdd: (event: Event) => void = () => {};
  constructor(log: Logger) {
    this.#log = log;
  }
  add(
    severity: Event['severity'],
    text: string,
    context: Pick<Event, 'pod' | 'aboutNode'> & object = {},
  ): void {
    this.#log[severity === 'warning' ? 'warn' : severity](context, text);
    const { pod, aboutNode } = context;
    const about = { ...given('pod', pod), ...given('aboutNode', aboutNode) };
    const event: Event = { time: new Date().toISOString(), severity, text, ...about };
    this.#kept.push(event);
    if (this.#kept.length > 100) this.#kept.shift();
    this.onAdd(event);
  }
  list(): readonly Event[] {
    return this.#kept;
  }
}

export function openEvents(log: Logger): Events {
  return new Events(log);
}
