/** The roads that can be measured: each between every two nodes, so that all packets take it. */
import { backendFor } from '#backends/index.ts';
import { Fault } from '#model/fault.ts';
import { ROAD_NAMES, type RoadName, TUNNEL_CIPHERS } from '#model/settings.ts';

export type MeasurableRoad = {
  readonly road: RoadName;
  readonly title: string;
  readonly encrypted: boolean;
  /** The group `road` of a settings file, as an operator would write it, and as it is measured: between every two nodes. */
  readonly told: Readonly<Record<string, unknown>>;
  readonly settings: Readonly<Record<string, unknown>>;
};

/**
 * All, or those that are named, each with and without encryption where it has both. `secretsFile`: of the roads that share
 * secrets. Throws Fault `request-invalid` with every name that is none.
 */
export function chooseRoads(names: readonly string[] | undefined, secretsFile: string): MeasurableRoad[] {
  const roads = ROAD_NAMES.filter((road) => backendFor(road).carrier !== undefined);
  const wrong = (names ?? []).filter((name) => !roads.some((road) => road === name));
  if (wrong.length > 0)
    throw new Fault('request-invalid', 'this cannot be measured', {
      problems: wrong.map((name) => ({ path: '--roads', message: `${name} is none of ${roads.join(', ')}` })),
    });
  return roads
    .filter((road) => names === undefined || names.includes(road))
    .flatMap((road) => variantsOf(road, secretsFile));
}

function variantsOf(road: RoadName, secretsFile: string): MeasurableRoad[] {
  const { title = 'plain routes', strict } = backendFor(road);
  const always = road === 'host-gw' ? {} : { mode: 'Always' };
  if (road !== 'udp') {
    const told = { type: road };
    const secrets = road === 'ipsec' ? { ipsec: { secretsFile } } : {};
    // Only of what encrypts can it be asked that nothing else passes.
    const encrypted = strict !== undefined;
    return [{ road, title, encrypted, told, settings: { ...told, ...always, ...secrets } }];
  }
  return TUNNEL_CIPHERS.map((cipher) => {
    const told = { type: road, udp: { cipher } };
    const encrypted = cipher !== 'plain';
    return {
      road,
      title: encrypted ? `${title}, ${cipher}` : title,
      encrypted,
      told,
      settings: { ...told, ...always },
    };
  });
}
