/**
 * The store as a leader's duties have it: nothing is written but by compare-and-swap on what was judged, and by nobody
 * who does not lead at that very moment.
 */
import type { Leadership } from './leadership.ts';
import type { PutOptions, StateKind, Store, Stored, Version } from '#stores/store.ts';

export type FencedStore = Pick<Store, 'get'> & {
  /** Throws NotLeading; else as Store. */
  put(
    kind: StateKind,
    name: string,
    value: unknown,
    options: PutOptions & Required<Pick<PutOptions, 'expect'>>,
  ): Promise<Stored>;
  remove(kind: StateKind, name: string, options: { readonly expect: Version }): Promise<void>;
};

/** `onWrite` is told what was done. */
export function fence(
  store: Store,
  leadership: Pick<Leadership, 'ensure'>,
  onWrite: (verb: 'put' | 'remove', kind: StateKind) => void = () => {},
): FencedStore {
  return {
    get: (kind, name) => store.get(kind, name),
    put: async (kind, name, value, options) => {
      leadership.ensure();
      const stored = await store.put(kind, name, value, options);
      onWrite('put', kind);
      return stored;
    },
    remove: async (kind, name, options) => {
      leadership.ensure();
      await store.remove(kind, name, options);
      onWrite('remove', kind);
    },
  };
}
