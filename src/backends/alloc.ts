/** Subnets only: somebody else (a cloud's route table, a router) carries packets between nodes. */
import type { NetworkBackend } from './backend.ts';

export const alloc: NetworkBackend = { name: 'alloc', carrier: undefined };
