/**
 * The command line: one file per command, put together here. A command answers its exit code; what it throws is printed
 * as a Fault. Rooms that act (agent, lab) come in through `Doors`, so that offline commands never load them.
 */
import { Command, CommanderError } from 'commander';
import type { PurgeAnswer } from '#api/admin.ts';
import type { MigrationReport } from '#migration/report.ts';
import type { ClusterStatus } from '#model/cluster-status.ts';
import type { Block } from '#model/block.ts';
import type { HostFacts } from '#model/facts.ts';
import type { MeasureOptions, MeasureProgress, Measurements } from '#model/measurement.ts';
import type { Problem } from '#model/fault.ts';
import type { Manifest } from '#model/manifest.ts';
import type { ApiServerSettings, Settings } from '#model/settings.ts';
import type { Reservation } from '#model/provider.ts';
import type { ObjectStore, Outcome } from '#model/store-object.ts';
import { EXIT, type OutputFormat, printFault } from './output.ts';

export type EverythingQuery = {
  readonly settings: ApiServerSettings;
  readonly wants: (group: string, kind: string) => boolean;
};
export type Everything = { readonly manifests: readonly Manifest[]; readonly problems: readonly Problem[] };

export type Doors = {
  readonly version: string;
  /** Serves until the signal aborts. */
  readonly agent: (settings: Settings, options: { signal: AbortSignal; version: string }) => Promise<void>;
  /** As `agent`. */
  readonly controller: (
    settings: Settings,
    options: { signal: AbortSignal; version: string },
  ) => Promise<void>;
  /** As `agent`. */
  readonly relay: (settings: Settings, options: { signal: AbortSignal; version: string }) => Promise<void>;
  /** What the leading controller last wrote; undefined: none has led yet. */
  readonly cluster: (settings: Settings) => Promise<ClusterStatus | undefined>;
  /** Releases the controller's brake; answers what it held for. */
  readonly resumeCluster: (settings: Settings) => Promise<string>;
  /** The store that the settings name, as an operator uses it. */
  readonly objects: (settings: Settings) => Promise<ObjectStore>;
  /** Objects of an API server, of kinds that are asked for. */
  readonly everything: (query: EverythingQuery) => Promise<Everything>;
  /** What an agent would tell of this host, without one. */
  readonly facts: (settings: Settings) => Promise<HostFacts>;
  /** What an agent would do for `uninstall --purge`, without one. */
  readonly purge: (settings: Settings) => Promise<PurgeAnswer>;
  /** Where it is a mount of a container, only what is in it. */
  readonly removeDirectory: (path: string) => Promise<void>;
  /** What flannel has on this node, and taking it over, or giving it back. `agent`: as it answers. */
  readonly migrateFlannel: (
    settings: Settings,
    options: { readonly trial: boolean; readonly back: boolean; readonly agent: 'away' | 'waits' | 'ready' },
  ) => Promise<MigrationReport>;
  /** Of another provider, in the etcd of the store. */
  readonly calicoKeys: (settings: Settings) => Promise<{ readonly key: string; readonly value: string }[]>;
  /** Puts blocks into the store, unless they are there. */
  readonly seedBlocks: (settings: Settings, blocks: readonly Block[], isTrial: boolean) => Promise<Outcome[]>;
  /** Takes Calico's pods of this node over. */
  readonly adoptCalico: (
    settings: Settings,
    pods: readonly Reservation[],
    options: { readonly trial: boolean },
  ) => Promise<Pick<MigrationReport, 'steps' | 'problems' | 'notes' | 'isDone'>>;
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
    const program = await buildProgram(words, doors, (result) => (code = result));
    await program.parseAsync([...words], { from: 'user' });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    return printFault(error, outputOf(words));
  }
}

type Load = (make: Make, doors: Doors) => Promise<Command>;

/** Each is loaded when it is named: an agent, of which every node has one, holds no other in memory. */
const COMMANDS: Readonly<Record<string, Load>> = {
  agent: async (make, doors) => (await import('./agent.ts')).agentCommand(make, doors),
  controller: async (make, doors) => (await import('./controller.ts')).controllerCommand(make, doors),
  relay: async (make, doors) => (await import('./relay.ts')).relayCommand(make, doors),
  status: async (make, doors) => (await import('./status.ts')).statusCommand(make, doors),
  doctor: async (make, doors) => (await import('./doctor.ts')).doctorCommand(make, doors),
  routes: async (make) => (await import('./routes.ts')).routesCommand(make),
  get: async (make, doors) => (await import('./get.ts')).getCommand(make, doors),
  describe: async (make, doors) => (await import('./objects.ts')).describeCommand(make, doors),
  apply: async (make, doors) => (await import('./apply.ts')).applyCommand(make, doors),
  delete: async (make, doors) => (await import('./apply.ts')).deleteCommand(make, doors),
  store: async (make, doors) => (await import('./store.ts')).storeCommand(make, doors),
  migrate: async (make, doors) => (await import('./migrate.ts')).migrateCommand(make, doors),
  plan: async (make) => (await import('./plan.ts')).planCommand(make),
  'from-flannel': async (make) => (await import('./from-flannel.ts')).fromFlannelCommand(make),
  policy: async (make) => (await import('./policy.ts')).policyCommand(make),
  choose: async (make, doors) => (await import('./choose.ts')).chooseCommand(make, doors),
  test: async (make) => (await import('./connectivity.ts')).connectivityCommand(make),
  capture: async (make) => (await import('./capture.ts')).captureCommand(make),
  flows: async (make) => (await import('./flows.ts')).flowsCommand(make),
  pause: async (make) => (await import('./pause.ts')).pauseCommand(make),
  resume: async (make, doors) => (await import('./pause.ts')).resumeCommand(make, doors),
  switch: async (make) => (await import('./switch.ts')).switchCommand(make),
  support: async (make, doors) => (await import('./support.ts')).supportCommand(make, doors),
  install: async (make, doors) => (await import('./install.ts')).installCommand(make, doors),
  uninstall: async (make, doors) => (await import('./install.ts')).uninstallCommand(make, doors),
  lab: async (make) =>
    make('lab', () => EXIT.usage).description(
      'a cluster of network namespaces on this host: tartan lab --help',
    ),
  version: async (make, doors) => (await import('./version.ts')).versionCommand(make, doors),
};

/** With the command that is named first, or with all of them where none is. */
async function buildProgram(
  [name = '']: readonly string[],
  doors: Doors,
  done: (code: number) => void,
): Promise<Command> {
  const named = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  const wanted = named === undefined ? Object.values(COMMANDS) : [named];
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
  for (const load of wanted) {
    const command = await load(make, doors);
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
