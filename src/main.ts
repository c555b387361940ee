/**
 * The program’s front door, in no room: it joins the command line with the rooms that act, which are loaded only by the
 * commands that need them. esbuild bundles from here.
 */
import { runProgram } from '#cli/program.ts';

/** Set by scripts/build.ts; absent when run from source. */
declare const TARTAN_VERSION: string | undefined;

/** For scripts/compile.ts. */
export async function loadAgent(): Promise<void> {
  await import('#agent/main.ts');
}

// `tartan … | head`: whoever reads has read enough.
process.stdout.on('error', ({ code }: NodeJS.ErrnoException) => process.exit(code === 'EPIPE' ? 0 : 5));

void runProgram(process.argv.slice(2), {
  version: typeof TARTAN_VERSION === 'string' ? TARTAN_VERSION : '0.1.0-source',
  agent: async (settings, options) => (await import('#agent/main.ts')).runAgent(settings, options),
  controller: async (settings, options) =>
    (await import('#controller/main.ts')).runController(settings, options),
  relay: async (settings, options) => (await import('#relay/main.ts')).runRelay(settings, options),
  cluster: async (settings) => (await import('#controller/main.ts')).readStatus(settings),
  resumeCluster: async (settings) => (await import('#controller/main.ts')).resumeCluster(settings),
  everything: async (query) => (await import('#stores/kubernetes/everything.ts')).readEverything(query),
  facts: async (settings) => (await import('#agent/offline.ts')).lookAtHost(settings),
  purge: async (settings) => (await import('#agent/offline.ts')).purgeHost(settings),
  removeDirectory: async (path) => (await import('#agent/offline.ts')).removeDirectory(path),
  migrateFlannel: async (settings, options) =>
    (await import('#agent/migration/report.ts')).migrateFlannel(settings, options),
  calicoKeys: async ({ store }) => (await import('#stores/etcd/foreign-keys.ts')).readKeys(store, '/calico/'),
  seedBlocks: async ({ store }, blocks, isTrial) =>
    (await import('#stores/seed.ts')).seedBlocks(store, blocks, isTrial),
  adoptCalico: async (settings, pods, options) =>
    (await import('#agent/migration/calico.ts')).adoptCalicoPods(settings, pods, options),
  measure: async (options, progress) =>
    (await import('#lab/measure/measure.ts')).measureRoads(options, progress),
  lab: async (words) => (await import('#lab/command.ts')).runLab(words),
  objects: async ({ store }) => (await import('#stores/objects.ts')).openObjects(store),
}).then((code) => {
  process.exitCode = code;
});
