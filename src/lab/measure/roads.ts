/** The roads that can be measured: each between every two nodes, so that all packets take it. */
import { backendFor } from '#backends/index.ts';
import { Fault } from '#model/fault.ts';
import { ROAD_NAMES, type RoadName } from '#model/settings.ts';

export type MeasurableRoad = {
  readonly road: RoadName;
  readonly title: string;
  readonly encrypted: boolean;
  /** The group `road` of a settings file. */
  readonly settings: Readonly<Record<string, unknown>>;
};

/** All, or those that are named. Throws Fault `request-invalid` with every name that is none. */
export function chooseRoads(names: readonly string[] | undefined): MeasurableRoad[] {
  const roads = ROAD_NAMES.filter((road) => backendFor(road).carrier !== undefined);
  const wrong = (names ?? []).filter((name) => !roads.some((road) => road === name));
  if (wrong.length > 0)
    throw new Fault('request-invalid', 'this cannot be measured', {
      problems: wrong.map((name) => ({ path: '--roads', message: `${name} is none of ${roads.join(', ')}` })),
    });
  return roads.filter((road) => names === undefined || names.includes(road)).map(measurable);
}

function measurable(road: RoadName): MeasurableRoad {
  const { title, automatic, strict } = backendFor(road);
  return {
    road,
    title: title ?? 'plain routes',
    encrypted: automatic === 'sealed' || strict !== undefined,
    settings: { type: road, ...(title === undefined ? {} : { mode: 'Always' }) },
  };
}
