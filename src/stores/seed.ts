/** Blocks that another provider's allocations are, put into a store that has none of them yet. */
import { isDeepStrictEqual } from 'node:util';
import type { Block } from '#model/block.ts';
import { Fault, type Problem } from '#model/fault.ts';
import type { StoreSettings } from '#model/settings.ts';
import type { Outcome } from '#model/store-object.ts';
import { API_VERSION } from './object-file.ts';
import { openStore } from './open.ts';

/**
 * Throws Fault `request-invalid` with every block that is there and is another one: its node has gone on with it. Then nothing
 * is changed. `isTrial`: changes nothing.
 */
export async function seedBlocks(
  settings: StoreSettings,
  blocks: readonly Block[],
  isTrial: boolean,
): Promise<Outcome[]> {
  const store = await openStore(settings);
  try {
    const present = new Map((await store.list('Block')).map(({ name, value }) => [name, value]));
    const named = blocks.map((block) => ({ name: block.prefix.replace('/', '-'), block }));
    const problems = named.flatMap(({ name, block }): Problem[] => {
      const there = present.get(name);
      if (there === undefined || isDeepStrictEqual(there, block)) return [];
      return [{ path: `Block ${name}`, message: 'is in the store already, and another one' }];
    });
    if (problems.length > 0) throw new Fault('request-invalid', 'nothing is changed', { problems });
    const due = named.filter(({ name }) => !present.has(name));
    if (!isTrial)
      for (const { name, block } of due) await store.put('Block', name, block, { expect: 'absent' });
    const fresh = new Set(due.map(({ name }) => name));
    return named.map(({ name }) => ({
      name: `${API_VERSION}/Block/${name}`,
      outcome: fresh.has(name) ? 'created' : 'unchanged',
    }));
  } finally {
    store.close();
  }
}
