/** The operator's manifests in a lab's store, one file each, replaced whole as an operator's tool would. */
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { checkName, storePath } from './topology.ts';

/** An empty text removes the file. `file` without its ending. */
export function applyManifests(lab: string, file: string, manifests: string): void {
  checkName('file', file);
  const directory = join(storePath(lab), 'manifests');
  const path = join(directory, `${file}.yaml`);
  if (manifests === '') return rmSync(path, { force: true });
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, `.${file}`), manifests);
  renameSync(join(directory, `.${file}`), path);
}
