/**
 * Our tables in the kernel: loaded whole, and answered as wanted exactly while the kernel lists them as it did right
 * after our own load. What an earlier process loaded, or somebody changed, is answered as the kernel lists it.
 */
import type { NftElementItem, NftTableItem } from '#model/host.ts';
import { type NftLibrary, NftError } from './library.ts';
import {
  changesHooks,
  declarations,
  listedBody,
  listTable,
  recreateTable,
  reloadTable,
  removeTable,
} from './structure.ts';

type Family = NftTableItem['family'];
const FAMILIES: readonly Family[] = ['inet', 'bridge'];

export class Tables {
  readonly #library: NftLibrary;
  /** Asked when a table cannot be reloaded in place: what its sets hold. */
  readonly #elements: () => NftElementItem[];
  readonly #loaded = new Map<Family, { body: string; listing: string }>();

  constructor(library: NftLibrary, elements: () => NftElementItem[]) {
    this.#library = library;
    this.#elements = elements;
  }

  /**
   * Throws NftError, and then the table is as before. `elements`: what comes next; a new table has them from its first
   * packet on, or it would drop for a moment what it is about to let through.
   */
  load(item: NftTableItem, elements: readonly NftElementItem[] = []): void {
    const listed = this.#list(item.family);
    const present = declarations(listed ?? '');
    try {
      if (changesHooks(item, present)) throw new NftError('a chain changes its hook');
      this.#library.run(listed === undefined ? recreateTable(item, elements) : reloadTable(item, present));
    } catch (error) {
      if (!(error instanceof NftError)) throw error;
      this.#library.run(recreateTable(item, this.#elements()));
    }
    this.#loaded.set(item.family, { body: item.body, listing: this.#list(item.family) ?? '' });
  }

  remove(family: Family): void {
    this.#library.run(removeTable(family));
    this.#loaded.delete(family);
  }

  observe(): NftTableItem[] {
    return FAMILIES.flatMap((family) => {
      const listing = this.#list(family);
      if (listing === undefined) return [];
      const loaded = this.#loaded.get(family);
      const body = loaded?.listing === listing ? loaded.body : listing;
      return [{ kind: 'nft-table' as const, family, body }];
    });
  }

  #list(family: Family): string | undefined {
    try {
      return listedBody(this.#library.run(listTable(family)));
    } catch (error) {
      if (error instanceof NftError && error.code === 'ENOENT') return undefined;
      throw error;
    }
  }
}
