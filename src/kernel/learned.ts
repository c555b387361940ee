/** Routes that this node's BIRD wrote: looked at, and removed only when it is gone for good. */
import type { RouteItem } from '#model/host.ts';
import { BIRD_ROUTE_PROTOCOL } from '#model/numbers.ts';
import { FAMILIES } from '#net/address.ts';
import { NLM_F_DUMP } from './netlink/message.ts';
import { askRoutes, isLearnedRoute, readRoute, removeLearnedRoute } from './netlink/route.ts';
import { routeItem } from './observe.ts';
import type { Scope } from './scope.ts';

/** Of both families. Those of several next hops have no link. */
export function observeLearned(scope: Scope): RouteItem[] {
  const { socket, writer } = scope;
  return FAMILIES.flatMap((family) => {
    writer.clear();
    askRoutes(writer, NLM_F_DUMP, family, BIRD_ROUTE_PROTOCOL);
    return socket.dump(writer, (message) => {
      const row = readRoute(message);
      return row !== undefined && isLearnedRoute(message, row) ? routeItem(row, scope) : undefined;
    });
  });
}

/** Those that are gone afterwards. */
export function removeLearned(scope: Scope): RouteItem[] {
  const { socket, writer } = scope;
  const before = observeLearned(scope);
  if (before.length === 0) return [];
  writer.clear();
  for (const route of before) removeLearnedRoute(writer, route);
  socket.batch(writer);
  const left = new Set(observeLearned(scope).map(({ prefix }) => prefix));
  return before.filter(({ prefix }) => !left.has(prefix));
}
