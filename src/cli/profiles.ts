/** The profiles that come with Tartan, as YAML text by name. */
import { globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

/** Put in by scripts/build.ts; absent when run from source. */
declare const TARTAN_PROFILES: Readonly<Record<string, string>> | undefined;

export function readProfiles(): Readonly<Record<string, string>> {
  if (typeof TARTAN_PROFILES === 'object') return TARTAN_PROFILES;
  const directory = join(import.meta.dirname, '../../profiles');
  return Object.fromEntries(
    globSync('*.yaml', { cwd: directory })
      .sort()
      .map((file) => [basename(file, '.yaml'), readFileSync(join(directory, file), 'utf8')]),
  );
}
