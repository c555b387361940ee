/**
 * What was learned of names, in a file of this boot: an agent that starts again knows it, and cuts no connections that it
 * allowed. Written a moment after something has changed, never for each answer; a process that is killed loses that moment.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { z } from 'zod';
import { type Address, parseAddress } from '#net/address.ts';
import type { KnownName } from '#policy/dns/names.ts';

const FORMAT = 1;
const GATHER_MS = 250;

const address = z.string().refine((text): text is Address => parseAddress(text) === text);
const fileSchema = z.object({
  format: z.literal(FORMAT),
  names: z.array(z.object({ name: z.string(), addresses: z.array(z.tuple([address, z.number()])) })),
});

export type NamesFileOptions = {
  readonly path: string;
  /** All there is to keep. */
  readonly list: () => Iterable<KnownName>;
  readonly onError: (error: unknown) => void;
};

export class NamesFile {
  readonly #options: NamesFileOptions;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: NamesFileOptions) {
    this.#options = options;
  }

  /** Nothing where there is none, or one of another release, or a broken one. */
  read(): readonly KnownName[] {
    try {
      return fileSchema.parse(JSON.parse(readFileSync(this.#options.path, 'utf8'))).names;
    } catch {
      return [];
    }
  }

  saveSoon(): void {
    this.#timer ??= setTimeout(() => this.save(), GATHER_MS).unref();
  }

  save(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const { path, list, onError } = this.#options;
    try {
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(`${path}.new`, JSON.stringify({ format: FORMAT, names: [...list()] }));
      renameSync(`${path}.new`, path);
    } catch (error) {
      onError(error);
    }
  }
}
