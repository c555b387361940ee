/** Tells of sessions that went down or came up; of those that never were up yet it says nothing, status does. */
import type { Events } from '#lib/log.ts';
import type { SeenSession } from '#model/routing.ts';
import { whyDown } from '#routing/explain.ts';
import type { RoutingPlan } from '#routing/plan.ts';

export class SessionWatch {
  readonly #events: Events;
  /** Names of those that have been up. */
  readonly #up = new Map<string, boolean>();

  constructor(events: Events) {
    this.#events = events;
  }

  note(seen: readonly SeenSession[], plan: RoutingPlan): void {
    const planned = new Map(plan.sessions.map((session) => [session.name, session]));
    for (const name of this.#up.keys()) if (!planned.has(name)) this.#up.delete(name);
    for (const session of seen) {
      const title = planned.get(session.name)?.title;
      if (title !== undefined)
        this.#noteOne(session, `session ${title} (${session.neighbour ?? session.name})`);
    }
  }

  #noteOne(session: SeenSession, title: string): void {
    const before = this.#up.get(session.name);
    if (before === undefined && !session.up) return;
    this.#up.set(session.name, session.up);
    if (before === true && !session.up)
      this.#events.add('warning', `${title} is down: ${whyDown(session) ?? session.state}`);
    if (before === false && session.up) this.#events.add('info', `${title} is up again`);
  }
}
