/**
 * Tartan on the nodes of a cluster as a service of each host would run it: `tartan install`, then the agent, with the
 * settings in /etc/tartan/settings.yaml and the paths that are the default.
 */
import { dirname, join } from 'node:path';
import { stringify } from 'yaml';
import { waitFor, type Output } from '../host/namespace.ts';
import { tail, type Daemon } from '../runtimes/daemon.ts';
import type { KubeNode } from './node.ts';
import { ROOT } from './node.ts';

const TARTAN = join(ROOT, 'dist/tartan');
const SETTINGS = '/etc/tartan/settings.yaml';

export type Agent = {
  readonly node: KubeNode;
  /** A command of the program, on the settings of the node. */
  run(words: readonly string[]): Promise<Output>;
  /** Writes settings, installs by them, and starts the agent, again where it runs; resolves when it serves. */
  configure(settings: Readonly<Record<string, unknown>>): Promise<void>;
  /** The agent ends; then everything of it is taken off the node. */
  uninstall(): Promise<void>;
  log(): string;
};

export function makeAgent(node: KubeNode): Agent {
  let daemon: Daemon | undefined;
  const run: Agent['run'] = (words) =>
    node.room.run([TARTAN, ...words, '--config', SETTINGS], { timeoutMs: 120_000 });
  const must = async (words: readonly string[]): Promise<void> => {
    const { code, stdout, stderr } = await run(words);
    if (code !== 0) throw new Error(`${node.name}: tartan ${words.join(' ')}: ${stderr}${stdout}`);
  };
  const log = (): string => daemon?.log() ?? '';
  return {
    node,
    run,
    log,
    configure: async (settings) => {
      const text = { apiVersion: 'tartan.dev/v1', kind: 'Settings', node: { name: node.name }, ...settings };
      await node.room.must(['mkdir', '-p', dirname(SETTINGS)]);
      await node.room.must(['tee', SETTINGS], { input: stringify(text) });
      await daemon?.stop('SIGTERM');
      await must(['install']);
      const started = await node.room.start('tartan', [TARTAN, 'agent', '--config', SETTINGS]);
      daemon = started;
      let last = '';
      const serves = async (): Promise<boolean> => {
        if (started.ended() !== undefined)
          throw new Error(`the agent of ${node.name} ended ${started.ended()}:\n${tail(log())}`);
        const { code, stdout, stderr } = await run(['status']);
        last = stderr + stdout;
        return code === 0;
      };
      await waitFor(`the agent of ${node.name} to serve`, serves, 60_000).catch((error: unknown) => {
        throw new Error(`${String(error)}: ${last}\n${tail(log())}`, { cause: error });
      });
    },
    uninstall: async () => {
      await daemon?.stop('SIGTERM');
      await must(['uninstall', '--purge']);
      await node.room.must(['rm', '-r', dirname(SETTINGS)]);
    },
  };
}
