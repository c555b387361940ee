/**
 * The command line: one file per command, put together here. A command answers its exit code; what it throws is printed
 * as a Fault. Rooms that act (agent, lab) come in through `Doors`, so that offline commands never load them.
 */
import { Command, CommanderError } from 'commander';
import type { PurgeAnswer } from '#api/admin.ts';
import type { HostFacts } from '#model/facts.ts';
import type { MeasureOptions, MeasureProgress, Measurements } from '#model/measurement.ts';
import type { Settings } from '#model/settings.ts';
import type { ObjectStore } from '#model/store-object.ts';
import { agentCommand } from './agent.ts';
import { applyCommand, deleteCommand } from './apply.ts';
import { captureCommand } from './capture.ts';
import { chooseCommand } from './choose.ts';
import { connectivityCommand } from './connectivity.ts';
import { doctorCommand } from './doctor.ts';
import { flowsCommand } from './flows.ts';
import { fromFlannelCommand } from './from-flannel.ts';
import { getCommand } from './get.ts';
import { installCommand, uninstallCommand } from './install.ts';
import { describeCommand } from './objects.ts';
import { EXIT, type OutputFormat, printFault } from './output.ts';
import { pauseCommand, resumeCommand } from './pause.ts';
import { planCommand } from './plan.ts';
import { policyCommand } from './policy.ts';
import { statusCommand } from './status.ts';
import { storeCommand } from './store.ts';
import { supportCommand } from './support.ts';
import { versionCommand } from './version.ts';

export type Doors = {
  readonly version: string;
  /** Serves until the signal aborts. */
  readonly agent: (settings: Settings, options: { signal: AbortSignal; version: string }) => Promise<void>;
  /** The store that the settings name, as an operator uses it. */
  readonly objects: (settings: Settings) => Promise<ObjectStore>;
  /** What an agent would tell of this host, without one. */
  readonly facts: (settings: Settings) => Promise<HostFacts>;
  /** What an agent would do for `uninstall --purge`, without one. */
  readonly purge: (settings: Settings) => Promise<PurgeAnswer>;
  /** `tartan choose --measure`; tells how far it is. */
  readonly measure: (
    options: MeasureOptions,
    progress: (progress: MeasureProgress) => void,
  ) => Promise<Measurements>;
  /** `tartan lab …`: the words after `lab`; answers the exit code. */
  readonly lab: (words: readonly string[]) => Promise<number>;
};

/** A command's body: given its own options and words, it answers the exit code. */
export type Action = (options: Record<string, unknown>, words: string[]) => number | Promise<number>;

/** Runs one command line (without the program's name) and answers the exit code. Never throws. */
export async function runProgram(words: readonly string[], doors: Doors): Promise<number> {
  let code: number = EXIT.ok;
  try {
    // The lab parses its own words, `--` included.
    if (words[0] === 'lab') return await doors.lab(words.slice(1));
    const program = buildProgram(doors, (result) => (code = result));
    await program.parseAsync([...words], { from: 'user' });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    return printFault(error, outputOf(words));
  }
}

function buildProgram(doors: Doors, done: (code: number) => void): Command {
  const program = new Command('tartan')
    .description('One container-network provider that can be any of them')
    .version(doors.version, '-V, --version')
    .exitOverride()
    .showSuggestionAfterError()
    .addHelpText('after', EXIT_HELP);
  const make = (name: string, action: Action): Command =>
    program.createCommand(name).action(async (...given: unknown[]) => {
      const command = given.at(-1) as Command;
      done(await action(command.opts(), command.args));
    });
  for (const command of [
    agentCommand(make, doors),
    statusCommand(make),
    doctorCommand(make, doors),
    getCommand(make, doors),
    describeCommand(make, doors),
    applyCommand(make, doors),
    deleteCommand(make, doors),
    storeCommand(make, doors),
    planCommand(make),
    fromFlannelCommand(make),
    policyCommand(make),
    chooseCommand(make, doors),
    connectivityCommand(make),
    captureCommand(make),
    flowsCommand(make),
    pauseCommand(make),
    resumeCommand(make),
    supportCommand(make, doors),
    installCommand(make),
    uninstallCommand(make, doors),
    make('lab', () => EXIT.usage).description(
      'a cluster of network namespaces on this host: tartan lab --help',
    ),
    versionCommand(make, doors),
  ]) {
    program.addCommand(command.copyInheritedSettings(program));
    for (const sub of command.commands) sub.copyInheritedSettings(command);
  }
  return program;
}

export type Make = (name: string, action: Action) => Command;

/** Read from the words themselves: a fault may come before options are parsed. */
function outputOf(words: readonly string[]): OutputFormat {
  const joined = ` ${words.join(' ')} `;
  return / (?:-o ?|--output[ =])json /.test(joined) ? 'json' : 'text';
}

const EXIT_HELP = `
Exit codes: 0 in order, 1 the command worked and found something wrong, 2 usage or settings,
3 no agent answers, 4 not root, 5 failed.`;
