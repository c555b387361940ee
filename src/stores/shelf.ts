/**
 * Where a store keeps what operators write by `tartan apply`. In a directory that is a file for each object; a file that
 * somebody wrote by hand is his.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { shortHash } from '#lib/hash.ts';
import type { StoreObject } from '#model/store-object.ts';
import { replaceFile } from './files.ts';
import type { Stored } from './store.ts';

export interface Shelf {
  /** Objects of our own kinds too, in place of what agents write. */
  readonly keepsState: boolean;
  /** Why an object that is there cannot be written; undefined: it can. */
  refusal(present: StoreObject): string | undefined;
  put(objects: readonly StoreObject[]): Promise<void>;
  remove(objects: readonly StoreObject[]): Promise<void>;
  /** It stands among what operators write. */
  holds(origin: string): boolean;
  /** Those of these names that there are, for a store that holds much else; absent: all are looked through. */
  find?(names: readonly string[]): Promise<Stored[]>;
  /** What writing each would do, as the store says; absent: it is due when it is not what is there. */
  trial?(objects: readonly StoreObject[]): Promise<Trial[]>;
  /** It is made by others than operators and agents, and stays where it is when state moves. */
  isForeign?(name: string): boolean;
}

/** It would change something; or why it cannot be. */
export type Trial = { readonly isDue: boolean } | { readonly problem: string };

/** Longer ones are cut and told apart by their hash; with it and the ending a file name has at most 255 bytes. */
const MAX_NAME = 200;

export function directoryShelf(path: string): Shelf {
  const manifests = join(path, 'manifests');
  const applied = join(manifests, 'applied');
  const fileOf = ({ name }: StoreObject): string => join(applied, fileName(name));
  const holds = (origin: string): boolean => origin.startsWith(`${manifests}/`);
  return {
    keepsState: true,
    holds,
    refusal: (present) =>
      holds(present.origin) && present.origin !== fileOf(present)
        ? `stands in ${present.origin}: change it there`
        : undefined,
    put: async (objects) => {
      for (const object of objects) replaceFile(fileOf(object), stringify(object.value));
    },
    remove: async (objects) => {
      for (const object of objects) rmSync(fileOf(object), { force: true });
    },
  };
}

/** Slashes are underscores, which names of Kubernetes do not have. */
function fileName(name: string): string {
  const plain = name.replaceAll('/', '_').replaceAll(/[^A-Za-z0-9._-]/g, '-');
  const isSame = plain.replaceAll('_', '/') === name && plain.length <= MAX_NAME;
  return `${isSame ? plain : `${plain.slice(0, MAX_NAME)}-${shortHash(name)}`}.yaml`;
}
