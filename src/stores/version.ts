import { Fault } from '#model/fault.ts';
import type { PutOptions, StateKind, Stored, StoreKind } from './store.ts';

/** Compare-and-swap's comparison. Throws Fault `store-conflict` unless what is there is what was expected. */
export function expectVersion(name: string, present: Stored | undefined, expect: PutOptions['expect']): void {
  if (expect === undefined || (present?.version ?? 'absent') === expect) return;
  const found = present === undefined ? 'is not there' : `has version ${present.version}`;
  throw new Fault('store-conflict', `${name} ${found}, expected was ${expect}`);
}

/** Throws Fault `store-conflict` for what agents may only read. */
export function refuseManifest(kind: StoreKind, name: string): asserts kind is StateKind {
  if (kind === 'Manifest') throw new Fault('store-conflict', `${name} is the operator’s`);
}
