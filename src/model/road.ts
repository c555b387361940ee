/** Which roads a node may take to another one: values that settings, adverts and the live switching share. */
import type { RoadMode, RoadName } from './settings.ts';

/** Roads by order of preference: between two nodes it is the first that both can. A road that was named is alone. */
export type Way = { readonly roads: readonly RoadName[]; readonly mode: RoadMode };
