import { storeContract } from './contract.ts';
import { createMemoryStore } from './memory.ts';

storeContract('memory', async () => {
  const store = createMemoryStore();
  const interrupt = (noticed: () => Promise<void>): Promise<void> => {
    store.interrupt('test');
    return noticed();
  };
  const writeManifests = (source: string, text: string | undefined): void =>
    store.writeManifests(source, text);
  return { store, other: store, writeManifests, interrupt, close: async () => store.close() };
});
