/**
 * `node scripts/build.ts`: dist/tartan.cjs (one file, CommonJS: it starts in a third of the time of ESM), dist/tartan (a
 * shell wrapper that pins the Node of this tree) and, through native/Makefile, dist/tartan-cni.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { build } from 'esbuild';

const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
const profiles = Object.fromEntries(
  globSync('profiles/*.yaml')
    .sort()
    .map((file) => [basename(file, '.yaml'), readFileSync(file, 'utf8')]),
);
mkdirSync('dist', { recursive: true });

const started = performance.now();
await build({
  entryPoints: ['src/main.ts'],
  outfile: 'dist/tartan.cjs',
  bundle: true,
  platform: 'node',
  target: 'node24',
  format: 'cjs',
  // Native code stays a file of its own; it is found in node_modules above dist.
  external: ['koffi'],
  define: {
    TARTAN_VERSION: JSON.stringify(version),
    TARTAN_PROFILES: JSON.stringify(profiles),
    'import.meta.dirname': '__dirname',
  },
  sourcemap: 'linked',
  legalComments: 'linked',
  logLevel: 'warning',
});

// Without source maps: the bundle is readable as it is, and to hold its map takes 30 MB in every agent. With V8's default
// for new objects (16 MB and more), thousands of peers arriving at once leave an agent 40 MB larger.
const flags = '--max-semi-space-size=4';
const wrapper = `#!/bin/sh
# Runs Tartan with the Node that this tree pins (node_modules), else with the system’s.
here=$(dirname "$(readlink -f "$0")")
for node in "$here/../node_modules/.bin/node" "$(command -v node)"; do
  [ -x "$node" ] && exec "$node" ${flags} "$here/tartan.cjs" "$@"
done
echo 'tartan: no Node found; run npm ci' >&2
exit 127
`;
writeFileSync('dist/tartan', wrapper);
chmodSync('dist/tartan', 0o755);
execFileSync('make', ['-s', '-C', 'native'], { stdio: 'inherit' });
console.log(
  `built dist/tartan.cjs, dist/tartan and dist/tartan-cni in ${Math.round(performance.now() - started)} ms`,
);
