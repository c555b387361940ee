/**
 * `node scripts/build.ts`: dist/tartan.cjs (one file, CommonJS: it starts in a third of the time of ESM) with its compiled
 * code, dist/start.cjs that loads both, dist/tunnel.cjs (a process of its own), dist/tartan (a shell wrapper that pins the Node of this tree), dist/pages (scripts
 * and styles of the pages it writes) and, through native/Makefile, dist/tartan-cni and dist/tartan-flow.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { build, type Plugin } from 'esbuild';

const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
const profiles = Object.fromEntries(
  globSync('profiles/*.yaml')
    .sort()
    .map((file) => [basename(file, '.yaml'), readFileSync(file, 'utf8')]),
);
const facts = Object.fromEntries(
  globSync('facts/*.{yaml,txt}')
    .sort()
    .map((file) => [basename(file), readFileSync(file, 'utf8')]),
);
/** What a package loads with itself and nobody here uses: 0.4 MB of translations, clients of push gateways and clusters. */
const withoutUnused: Plugin = {
  name: 'without-unused',
  setup: (bundler) => {
    bundler.onLoad({ filter: /\/zod\/v4\/locales\/index\.js$/ }, () => ({
      contents: "export { default as en } from './en.js';",
    }));
    bundler.onLoad({ filter: /\/prom-client\/lib\/(?:cluster|pushgateway)\.js$/ }, () => ({
      contents: 'module.exports = undefined;',
    }));
  },
};

/** What the packages of these files ask to be kept with every copy, as a comment. */
function licencesOf(files: readonly string[]): string {
  const packages = new Set(files.flatMap((file) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file) ?? []));
  const texts = [...packages].flatMap((path) =>
    globSync(`${path}/LICEN[CS]E*`).map(
      (file) => `${path.replace(/^.*node_modules\//, '')}\n${readFileSync(file, 'utf8').trim()}`,
    ),
  );
  return texts.length === 0 ? '' : `/*!\n${texts.join('\n\n').replaceAll('*/', '* /')}\n*/\n`;
}

mkdirSync('dist', { recursive: true });

const started = performance.now();
await build({
  entryPoints: { tartan: 'src/main.ts', start: 'src/start.ts', tunnel: 'src/tunnel/daemon.ts' },
  outdir: 'dist',
  outExtension: { '.js': '.cjs' },
  bundle: true,
  plugins: [withoutUnused],
  platform: 'node',
  target: 'node24',
  format: 'cjs',
  // Native code stays a file of its own; it is found in node_modules above dist.
  external: ['koffi'],
  define: {
    TARTAN_VERSION: JSON.stringify(version),
    TARTAN_PROFILES: JSON.stringify(profiles),
    TARTAN_FACTS: JSON.stringify(facts),
    'import.meta.dirname': '__dirname',
  },
  sourcemap: 'linked',
  legalComments: 'linked',
  logLevel: 'warning',
});
// What browsers run, for the pages that Tartan writes.
const pages = await build({
  entryPoints: ['src/web/matrix.ts', 'src/web/plots.ts', 'src/web/matrix.css', 'src/web/plots.css'],
  outdir: 'dist/pages',
  bundle: true,
  minify: true,
  platform: 'browser',
  target: ['chrome123', 'firefox120', 'safari17.5'],
  format: 'esm',
  metafile: true,
  logLevel: 'warning',
});
for (const [file, { inputs }] of Object.entries(pages.metafile.outputs))
  writeFileSync(file, `${licencesOf(Object.keys(inputs))}${readFileSync(file, 'utf8')}`);
// esbuild escapes what is not ASCII, but for comments.
const bundle = readFileSync('dist/tartan.cjs', 'utf8');
// oxlint-disable-next-line no-control-regex
writeFileSync('dist/tartan.cjs', bundle.replace(/[^\x00-\x7f]/g, '?'));

// Without source maps: the bundle is readable as it is, and to hold its map takes 30 MB in every agent. With V8's default
// for new objects (16 MB and more), thousands of peers arriving at once leave an agent 40 MB larger.
const flags = ['--min-semi-space-size=4', '--max-semi-space-size=4', '--v8-pool-size=2', '--expose-gc'];
const wrapper = `#!/bin/sh
# Runs Tartan with the Node that this tree pins (node_modules), else with the system’s.
case $0 in */*) self=$0 ;; *) self=./$0 ;; esac
[ -L "$self" ] && self=$(readlink -f "$self")
here=\${self%/*}
for node in "$here/../node_modules/.bin/node" "$(command -v node)"; do
  [ -x "$node" ] && exec "$node" ${flags.join(' ')} "$here/start.cjs" "$@"
done
echo 'tartan: no Node found; run npm ci' >&2
exit 127
`;
writeFileSync('dist/tartan', wrapper);
chmodSync('dist/tartan', 0o755);
execFileSync(process.execPath, [...flags, 'scripts/compile.ts', 'dist/tartan.cjs'], {
  stdio: ['ignore', 'ignore', 'inherit'],
});
execFileSync('make', ['-s', '-C', 'native'], { stdio: 'inherit' });
console.log(
  `built dist/tartan.cjs, dist/tartan, dist/pages, dist/tartan-cni and dist/tartan-flow in ${Math.round(performance.now() - started)} ms`,
);
