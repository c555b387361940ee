/** The roads that can be measured: each between every two nodes, so that all packets take it. */
import { backendFor } from '#backends/index.ts';
import { Fault } from '#model/fault.ts';
import { ROAD_NAMES, type RoadName, TUNNEL_CIPHERS } from '#model/settings.ts';

export type MeasurableRoad = {
  readonly road: RoadName;
  readonly title: string;
  readonly encrypted: boolean;
  /** The group `road` of a settings file, as an operator would write it. */
  readonly told: Readonly<Record<string, unknown>>;
  /** Groups of settings with which it is measured: between every two nodes. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** Policies can be in force on it. */
  readonly hasPolicies: boolean;
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
  const { title = 'plain routes', strict, isLearned } = backendFor(road);
  const plain = {
    road,
    title: isLearned === true ? `${title}, by BGP` : title,
    // Only of what encrypts can it be asked that nothing else passes.
    encrypted: strict !== undefined,
    told: { type: road },
    settings: { road: { type: road, ...(MODELESS.has(road) ? {} : { mode: 'Always' }) } },
    hasPolicies: true,
  };
  if (road === 'ipsec')
    return [{ ...plain, settings: { road: { ...plain.settings.road, ipsec: { secretsFile } } } }];
  if (road === 'layer2')
    return [{ ...plain, ...UNPOLICED, settings: { ...plain.settings, ...UNPOLICED.settings } }];
  if (road !== 'udp') return [plain];
  return TUNNEL_CIPHERS.map((cipher) => ({
    ...plain,
    title: cipher === 'plain' ? title : `${title}, ${cipher}`,
    encrypted: cipher !== 'plain',
    told: { type: road, udp: { cipher } },
    settings: { road: { ...plain.settings.road, udp: { cipher } } },
  }));
}

/** Of which there is nothing to encapsulate, or always. */
const MODELESS: ReadonlySet<RoadName> = new Set<RoadName>(['host-gw', 'bgp', 'layer2']);

/** Frames go from pod to pod past every host. */
const UNPOLICED = {
  settings: { wiring: { type: 'bridge' }, policy: { enforce: false } },
  hasPolicies: false,
} as const;
