/** Which roads a node may take to another one: values that settings, adverts and the live switching share. */
import type { Prefix } from '#net/prefix.ts';
import type { RoadMode, RoadName } from './settings.ts';

/** Roads by order of preference: between two nodes it is the first that both can. A road that was named is alone. */
export type Way = { readonly roads: readonly RoadName[]; readonly mode: RoadMode };

/** When packets to addresses of a pool are encapsulated, whatever the way says. */
export type PoolMode = { readonly prefix: Prefix; readonly mode: RoadMode | 'Never' };
