/**
 * Which flows would be judged otherwise: every pair of places, all traffic, exactly. Places that both sides judge alike
 * are looked at once; pairs whose ends are the same on both sides, not at all.
 */
import type { RuleBook } from '#model/policy.ts';
import type { PolicyWorld } from '#model/workload.ts';
import { addressFamily, FAMILIES, type Family } from '#net/address.ts';
import type { Decision } from './compile/grid.ts';
import { type Asked, type Decider, deciderOf } from './deciders.ts';
import { type Cell, cellsOf, cutsOfGrids, decisionAt } from './reach/cuts.ts';
import { type End, Judge, type Pair } from './reach/judge.ts';
import { Library } from './reach/library.ts';
import { type Place, placesOf } from './reach/places.ts';
import { joinCells, occurs, type TrafficSpan } from './reach/traffic-spans.ts';

export type Side = { readonly book: RuleBook; readonly world: PolicyWorld };
type Action = 'allow' | 'deny';

export type Change = {
  readonly families: readonly Family[];
  readonly traffic: readonly TrafficSpan[];
  readonly before: Action;
  readonly after: Action;
  /** Which end decides, and by what it did and does. */
  readonly at: 'egress' | 'ingress';
  readonly was: Decider;
  readonly now: Decider;
};

/** The same changes from each source to each destination, but never from a pod to itself. Names as Place has them. */
export type Difference = {
  readonly sources: readonly string[];
  readonly destinations: readonly string[];
  readonly changes: readonly Change[];
};

export function findDifferences(before: Side, after: Side): Difference[] {
  const library = new Library();
  const judges = [before, after].map(({ book, world }) => new Judge(book, world, library)) as [Judge, Judge];
  const compare = comparer(judges);
  const places = placesOf([before, after]);
  const found = FAMILIES.flatMap((family) => {
    const own = places.filter(({ address }) => addressFamily(address) === family);
    const groups = groupPlaces(own, judges);
    const foundIn = ({ pair, sources, destinations }: Block): Difference[] => {
      const changes = compare(pair, family);
      if (changes.length === 0) return [];
      return [{ sources: namesOf(sources), destinations: namesOf(destinations), changes }];
    };
    return groups.flatMap((sources) =>
      groups.flatMap((destinations) => blocksOf(sources, destinations, judges).flatMap(foundIn)),
    );
  });
  return mergeDifferences(found, library);
}

/** Judged alike on both sides. `single`: relations have to be looked at, place by place. */
type Group = { readonly places: readonly Place[]; readonly single: boolean };

function groupPlaces(places: readonly Place[], judges: readonly Judge[]): Group[] {
  const keyOf = ({ address }: Place): string => judges.map((judge) => judge.kindOf(address)).join('|');
  return [...Map.groupBy(places, keyOf).values()].flatMap((own): Group[] => {
    const [moved, stay] = [
      own.filter((each) => moves(each, judges)),
      own.filter((each) => !moves(each, judges)),
    ];
    const single = stay.some(({ kind }) => kind !== 'pod' && kind !== 'prefix');
    const rest = stay.length === 0 ? [] : [{ places: stay, single }];
    return [...moved.map((place) => ({ places: [place], single: true })), ...rest];
  });
}

/** Somebody else has the address on the other side, or several have it. */
function moves({ address }: Place, judges: readonly Judge[]): boolean {
  const owners = judges.map(({ atlas }) =>
    atlas.podsAt(address).map(({ namespace, name, node }) => `${namespace}/${name} ${node}`),
  );
  return owners.some((own) => own.length > 1 || own[0] !== owners[0]?.[0]);
}

/** All pairs of these places that are judged as `pair` is. */
type Block = {
  readonly pair: Pair;
  readonly sources: readonly Place[];
  readonly destinations: readonly Place[];
};

function blocksOf(sources: Group, destinations: Group, judges: readonly Judge[]): Block[] {
  if (!sources.single && !destinations.single) {
    const pair = firstPair(sources.places, destinations.places);
    if (pair === undefined) return [];
    return [{ pair, sources: sources.places, destinations: destinations.places }];
  }
  return sources.places.flatMap((source) => {
    const relation = (to: Place): string =>
      judges.map((judge) => judge.relationOf([source.address, to.address])).join();
    return [...Map.groupBy(destinations.places, relation).values()].map((own): Block => ({
      pair: [source.address, (own[0] as Place).address],
      sources: [source],
      destinations: own,
    }));
  });
}

/** Of two different pods: to themselves they are not judged. */
function firstPair(sources: readonly Place[], destinations: readonly Place[]): Pair | undefined {
  for (const source of sources) {
    const to = destinations.find(({ name }) => name !== source.name);
    if (to !== undefined) return [source.address, to.address];
  }
  return undefined;
}

function namesOf(places: readonly Place[]): string[] {
  return [...new Set(places.map(({ name }) => name))].sort();
}

type Compare = (pair: Pair, family: Family) => readonly Change[];

/** What ends with the same keys come to is worked out once. */
function comparer(judges: readonly [Judge, Judge]): Compare {
  const known = new Map<string, readonly Change[]>();
  return (pair, family) => {
    const ends = judges.map((judge) => judge.ends(pair)) as [readonly End[], readonly End[]];
    const [before, after] = ends.map((own) => own.map(({ key }) => key).join('&'));
    if (before === after) return [];
    const key = `${family} ${before}|${after}`;
    const found = known.get(key) ?? compareEnds(ends, judges, family);
    known.set(key, found);
    return found;
  };
}

type Sides<T> = readonly [before: T, after: T];
/** One cell that changes: which end denies on the side where one does, and what decides there on both. */
type Turn = {
  readonly cell: Cell;
  readonly after: Action;
  readonly end: End;
  readonly by: Sides<Decision | undefined>;
};

function compareEnds(ends: Sides<readonly End[]>, judges: Sides<Judge>, family: Family): Change[] {
  const cuts = cutsOfGrids(ends.flat().map(({ grids }) => grids()));
  const cells = [...cellsOf(cuts)].filter((cell) => occurs(cell, family));
  const turns = cells.flatMap((cell) => turnOf(cell, ends));
  const keyOf = ({ after, end, by }: Turn): string =>
    [after, end.direction, end.endpoint, ...by.map((each) => each?.key)].join('|');
  return [...Map.groupBy(turns, keyOf).values()].map((own): Change => {
    const { after, end, by } = own[0] as Turn;
    const { direction, endpoint } = end;
    const [was, now] = by.map((decision, side) => {
      const { book, atlas } = judges[side] as Judge;
      const asked: Asked = { book, world: atlas.world, endpoint, direction };
      return deciderOf(stepOf(decision), asked);
    }) as [Decider, Decider];
    const traffic = joinCells(
      own.map(({ cell }) => cell),
      cells,
    );
    const before = after === 'deny' ? 'allow' : 'deny';
    return { families: [family], traffic, before, after, at: direction, was, now };
  });
}

function turnOf(cell: Cell, [before, after]: Sides<readonly End[]>): Turn[] {
  const at = { protocol: cell.protocol, x: cell.x[0], y: cell.y[0] };
  const denier = (ends: readonly End[]): End | undefined =>
    ends.find(({ grids }) => decisionAt(grids(), at).verdict === 'deny');
  const [denied, denies] = [denier(before), denier(after)];
  const end = denied ?? denies;
  if (end === undefined || (denied !== undefined && denies !== undefined)) return [];
  const decisionOf = (ends: readonly End[]): Decision | undefined => {
    const own = ends.find(
      ({ endpoint, direction }) => endpoint === end.endpoint && direction === end.direction,
    );
    return own && decisionAt(own.grids(), at);
  };
  return [
    {
      cell,
      after: denies === undefined ? 'allow' : 'deny',
      end,
      by: [decisionOf(before), decisionOf(after)],
    },
  ];
}

function stepOf(decision: Decision | undefined) {
  const by = decision?.by;
  return by !== undefined && 'step' in by ? by.step : by;
}

/** Families with the same changes become one, then sources with the same destinations, then the other way round. */
function mergeDifferences(found: readonly Difference[], library: Library): Difference[] {
  const idOf = (names: readonly string[]): number => library.id(names.join('\n'));
  const pairs = Map.groupBy(found, ({ sources, destinations }) => `${idOf(sources)} ${idOf(destinations)}`);
  const drafts = [...pairs.values()].map((own): Difference => {
    const { sources, destinations } = own[0] as Difference;
    return { sources, destinations, changes: joinFamilies(own.flatMap(({ changes }) => changes)) };
  });
  const textOf = ({ changes }: Difference): number => library.id(JSON.stringify(changes));
  const bySource = [...Map.groupBy(drafts, (each) => `${textOf(each)} ${idOf(each.sources)}`).values()].map(
    (own): Difference => ({
      ...(own[0] as Difference),
      destinations: unite(own.map(({ destinations }) => destinations)),
    }),
  );
  const both = Map.groupBy(bySource, (each) => `${textOf(each)} ${idOf(each.destinations)}`);
  return [...both.values()].map((own) => ({
    ...(own[0] as Difference),
    sources: unite(own.map(({ sources }) => sources)),
  }));
}

function unite(lists: readonly (readonly string[])[]): string[] {
  return [...new Set(lists.flat())].sort();
}

function joinFamilies(changes: readonly Change[]): Change[] {
  const textOf = (change: Change): string => JSON.stringify({ ...change, families: [] });
  return [...Map.groupBy(changes, textOf).values()].map((own) => ({
    ...(own[0] as Change),
    families: [...new Set(own.flatMap(({ families }) => families))],
  }));
}
