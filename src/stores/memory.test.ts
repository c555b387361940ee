import { storeContract } from './contract.ts';
import { createMemoryStore } from './memory.ts';

storeContract('memory', async () => {
  const store = createMemoryStore();
  const interrupt = async (): Promise<void> => store.interrupt('test');
  return { store, other: store, interrupt, close: async () => store.close() };
});
