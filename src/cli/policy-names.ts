/** Lists of pods as short as they can be read. */
import type { PolicyWorld } from '#model/workload.ts';
import { addressFamily } from '#net/address.ts';

/** `namespace/name` of all that are not their node. */
export function namesOfPods(world: PolicyWorld): string[] {
  return world.endpoints.flatMap((each) =>
    each.kind === 'pod' && !each.hostNetwork ? [`${each.namespace}/${each.name}`] : [],
  );
}

/** Pods have addresses of both families: then it matters which one is meant. */
export function isDual(world: PolicyWorld): boolean {
  const addresses = world.endpoints.flatMap((each) => (each.kind === 'pod' ? each.addresses : []));
  return new Set(addresses.map(addressFamily)).size > 1;
}

/** Names of a list that are shown, of each namespace. */
const SHOWN = 3;

/** `shop/*` where a namespace is there with all its pods; `all`: the names of all pods. */
export function shortenNames(names: readonly string[], all: readonly string[]): string {
  const whole = Map.groupBy(new Set(all), spaceOf);
  const pods = new Set(all);
  const [own, others] = [names.filter((each) => pods.has(each)), names.filter((each) => !pods.has(each))];
  const spaces = [...Map.groupBy(own, spaceOf)].flatMap(([space, list]) => {
    const isWhole = list.length > 1 && list.length === whole.get(space)?.length;
    return isWhole ? [`${space}/*`] : shorten(list);
  });
  return [...spaces, ...shorten(others)].join(', ');
}

function spaceOf(name: string): string {
  return name.slice(0, name.indexOf('/'));
}

function shorten(names: readonly string[]): string[] {
  if (names.length <= SHOWN + 1) return [...names];
  return [...names.slice(0, SHOWN), `(+${names.length - SHOWN})`];
}
