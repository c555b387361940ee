/**
 * `make release`: dist/release with all that a release is: the image of each architecture and its bill of materials, the
 * manifests of all profiles, the Helm chart, the alerts, and SHA256SUMS of them. The same sources and packages give the same bytes.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { installationObjects, namespaceObject, renderObjects } from '#deploy/manifest.ts';
import { planInstallation } from '#deploy/options.ts';
import { type Lockfile, renderSbom } from '#deploy/sbom.ts';
import { readProfiles } from '../src/cli/profiles.ts';

const DIRECTORY = 'dist/release';
const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
const lockfile = JSON.parse(readFileSync('package-lock.json', 'utf8')) as Lockfile;
const epoch =
  process.env['SOURCE_DATE_EPOCH'] ??
  execFileSync('git', ['log', '-1', '--format=%ct'], { encoding: 'utf8' }).trim();
const timestamp = new Date(Number(epoch) * 1000).toISOString();
const place = (name: string): string => join(DIRECTORY, name);

rmSync(DIRECTORY, { recursive: true, force: true });
mkdirSync(DIRECTORY, { recursive: true });
const architectures = process.argv.slice(2);
for (const architecture of architectures.length === 0 ? ['amd64', 'arm64'] : architectures) {
  const name = `tartan-${version}-${architecture}`;
  const env = { ...process.env, SOURCE_DATE_EPOCH: epoch };
  execFileSync('deploy/image/build.sh', [architecture], { stdio: 'inherit', env });
  copyFileSync(`dist/image/${name}.oci.tar`, place(`${name}.oci.tar`));
  const debian = readFileSync(`dist/image/${name}.packages`, 'utf8');
  writeFileSync(
    place(`${name}.cdx.json`),
    renderSbom({ version, architecture, lockfile, debian, timestamp }),
  );
}
const profiles = readProfiles();
for (const profile of Object.keys(profiles)) {
  const installation = planInstallation({ profile, version }, profiles);
  const objects = [namespaceObject(installation), ...installationObjects(installation)];
  writeFileSync(place(`kubernetes-${profile}.yaml`), renderObjects(objects));
}
copyFileSync('deploy/monitoring/alerts.yaml', place('alerts.yaml'));
const chart = [
  '--sort=name',
  `--mtime=@${epoch}`,
  '--owner=0',
  '--group=0',
  '--numeric-owner',
  '--mode=go-w',
];
const tar = execFileSync('tar', ['-c', ...chart, '-C', 'deploy/helm', 'tartan'], { maxBuffer: 1 << 26 });
// Without the name and time that gzip notes by itself.
writeFileSync(
  place(`tartan-${version}.tgz`),
  execFileSync('gzip', ['-9n'], { input: tar, maxBuffer: 1 << 26 }),
);
const files = readdirSync(DIRECTORY).sort();
const sums = files.map(
  (file) =>
    `${createHash('sha256')
      .update(readFileSync(place(file)))
      .digest('hex')}  ${file}\n`,
);
writeFileSync(place('SHA256SUMS'), sums.join(''));
console.log(`release: ${files.length} files and SHA256SUMS in ${DIRECTORY}`);
