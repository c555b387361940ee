/**
 * `tartan flows`: what policies denied on this node, would deny, or were asked to log; what has been, or as it happens.
 * Lines go out as fast as they are taken: for a slow reader the agent lets the oldest go, and says how many.
 */
import { once } from 'node:events';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { FLOWS, type FlowQuery, KEPT_FLOWS } from '#api/flows.ts';
import type { FlowLine, FlowVerdict } from '#model/flow-event.ts';
import { renderFlow } from './flow-text.ts';
import { clientOf, formatOf, textOption, withAgent, withOutput } from './options.ts';
import { EXIT, type OutputFormat } from './output.ts';
import type { Make } from './program.ts';
import { readStream } from './stream.ts';

const VERDICTS_OF: Readonly<Record<string, readonly FlowVerdict[]>> = {
  denied: ['denied', 'audit'],
  staged: ['staged'],
  logged: ['logged'],
};

export function flowsCommand(make: Make): Command {
  const command = make('flows', async (options) => {
    const stop = new AbortController();
    const end = (): void => stop.abort();
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, end);
    // Whoever reads us has seen enough.
    process.stdout.on('error', end);
    const query = queryOf(options);
    const { socket } = clientOf(options);
    let code: number = EXIT.ok;
    for await (const line of readStream(socket, FLOWS, query, stop.signal)) {
      if ('problem' in line && !query.follow) code = EXIT.found;
      await printLine(formatOf(options), line, stop.signal);
    }
    return code;
  });
  return withOutput(withAgent(command))
    .description('packets that policies of this node denied, would deny, or log')
    .option('-f, --follow', 'go on with what happens, until Ctrl-C')
    .addOption(
      new Option('--last <n>', `so many of the past (default: all that is kept, with --follow 10)`).argParser(
        parseCount,
      ),
    )
    .option('--denied', 'only what was denied (or, with policy.audit, passed all the same)')
    .option('--staged', 'only what passed, and would be denied with the staged policies in force')
    .option('--logged', 'only what rules with action Log matched')
    .option('--namespace <name>', 'only from or to pods of the namespace')
    .option('--pod <name>', 'only from or to the pod: shop/web, or web of any namespace')
    .option('--policy <name>', 'only decided by the policy: shop/web, or web');
}

function queryOf(options: Record<string, unknown>): FlowQuery {
  const follow = options['follow'] === true;
  const last = typeof options['last'] === 'number' ? options['last'] : follow ? 10 : KEPT_FLOWS;
  const verdicts = Object.entries(VERDICTS_OF).flatMap(([name, those]) =>
    options[name] === true ? those : [],
  );
  const [namespace, pod, policy] = ['namespace', 'pod', 'policy'].map((name) => textOption(options, name));
  const filter = { namespace, pod, policy, verdicts: verdicts.length === 0 ? undefined : verdicts };
  return { follow, last, filter };
}

function parseCount(text: string): number {
  const count = Number(text);
  if (/^\d+$/.test(text) && count <= KEPT_FLOWS) return count;
  throw new InvalidArgumentError(`is not a number from 0 to ${KEPT_FLOWS}.`);
}

/** Events are standard output; with `-o json` what was lost, and why nothing comes, as well. */
async function printLine(format: OutputFormat, line: FlowLine, signal: AbortSignal): Promise<void> {
  const text = format === 'json' ? JSON.stringify('event' in line ? line.event : line) : renderLine(line);
  const stream = format === 'json' || 'event' in line ? process.stdout : process.stderr;
  if (stream.write(`${text}\n`)) return;
  await once(stream, 'drain', { signal }).catch(() => {});
}

function renderLine(line: FlowLine): string {
  if ('event' in line) return renderFlow(line.event);
  if ('problem' in line) return `tartan: nothing is told: ${line.problem}`;
  return `tartan: ${line.lost} more, too many for ${line.at === 'agent' ? 'the agent' : 'this reader'}`;
}
