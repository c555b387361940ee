/**
 * Sessions whose password changes begin anew, as BIRD has it. Packets go on: the daemon is replaced by one that says nothing to the
 * peers, which keep this node's routes for `gracefulRestartSeconds`, and what was learned of them is held here, a static route each, until a
 * session tells of it again, for no longer than that.
 */
import type { Bird } from '#bird/bird.ts';
import type { Passwords } from '#bird/secrets.ts';
import { given } from '#lib/given.ts';
import type { Problem } from '#model/fault.ts';
import type { RouteItem } from '#model/host.ts';
import type { SeenRoute } from '#model/routing.ts';
import type { HeldRoute, RoutingPlan } from '#routing/plan.ts';

export type Wanted = {
  readonly plan: RoutingPlan;
  readonly passwords: Passwords;
  readonly render: (plan: RoutingPlan) => string;
};

/** `from`: the sessions that told of it. */
type Held = HeldRoute & { readonly from: readonly string[] };

export class HeldRoutes {
  #routes: readonly Held[] = [];
  #untilMs = 0;

  /** As `bird.configure`, without loss where passwords are others now. `learned`: what BIRD has written to the kernel. */
  async configure(
    bird: Bird,
    { plan, passwords, render }: Wanted,
    learned: () => Iterable<RouteItem>,
    nowMs: number,
  ): Promise<readonly Problem[]> {
    if (nowMs >= this.#untilMs) this.#routes = [];
    if (this.#routes.length > 0) this.#routes = stillMissed(this.#routes, await bird.routes(), plan);
    const text = render({ ...plan, held: this.#routes });
    if (!(await isMissed(bird, bird.rotates(text, passwords)))) return bird.configure(text, passwords);
    this.#routes = waysOf(learned(), await bird.routes());
    this.#untilMs = nowMs + 1000 * plan.restartS;
    return bird.replace(render({ ...plan, held: this.#routes }), passwords);
  }
}

/** Whether one of the sessions is up, or its peer is waited for and its routes are kept. */
async function isMissed(bird: Bird, names: readonly string[]): Promise<boolean> {
  if (names.length === 0 || !bird.isUp()) return false;
  const seen = await bird.sessions();
  return seen.some(
    ({ name, up, channels }) => names.includes(name) && (up || channels.some(({ imported }) => imported > 0)),
  );
}

/** Not those that a session tells of again, nor those of sessions that are to be no more. */
function stillMissed(held: readonly Held[], seen: readonly SeenRoute[], { sessions }: RoutingPlan): Held[] {
  const names = new Set(sessions.map(({ name }) => name));
  const told = new Set(seen.flatMap(({ prefix, from }) => (names.has(from) ? [prefix] : [])));
  return held.filter(({ prefix, from }) => !told.has(prefix) && from.some((name) => names.has(name)));
}

/** Of several next hops one will do. */
function waysOf(learned: Iterable<RouteItem>, seen: readonly SeenRoute[]): Held[] {
  const byPrefix = Map.groupBy(seen, ({ prefix }) => prefix);
  return Array.from(learned, ({ prefix, via, link, onlink }): Held => {
    const told = byPrefix.get(prefix) ?? [];
    const [first] =
      via === undefined && link === undefined ? (told.find(({ chosen }) => chosen)?.via ?? []) : [];
    return {
      prefix,
      from: told.map(({ from }) => from),
      ...given('via', via ?? first?.gateway),
      ...given('link', link ?? first?.interface),
      ...given('onlink', onlink),
    };
  });
}
