/** The agent's answers on the admin API. */
import type { Agent } from '../agent.ts';
import type { PrefixUsage } from '../addresses/allocator.ts';
import type { ApiHandlers, TextHandlers } from './api-server.ts';
import { gatherFacts, sceneOf } from '../host/facts.ts';
import { noteRelays, noteTunnel } from '../metrics.ts';
import { countPeers } from '../readiness.ts';
import { policyOpinion, policySnapshot } from '../policy/answers.ts';
import { changeRoad, describeRoad, foreseeRoad } from './road-answers.ts';
import { describeStatus } from './status.ts';
import { showItem } from '#model/show.ts';

export function apiHandlers(agent: Agent): ApiHandlers {
  const { host } = agent;
  const switches = (): object => ({
    paused: host.paused,
    ...(host.braked === undefined ? {} : { braked: `${host.braked.removals} of ${host.braked.of} routes` }),
  });
  return {
    status: async () => describeStatus(agent, await agent.tunnel?.status()),
    facts: () => gatherFacts(sceneOf(agent)),
    state: () => ({ wanted: Object.fromEntries(host.wanted), seen: Object.fromEntries(host.seen) }),
    routes: () => agent.routing.describe(),
    pause: () => {
      agent.pause();
      return switches();
    },
    resume: () => {
      agent.release();
      return switches();
    },
    support: () => support(agent),
    road: () => describeRoad(agent),
    changeRoad: (request) => changeRoad(agent, request),
    foreseeRoad: (request) => foreseeRoad(agent, request),
    purge: () => purge(agent),
    policySnapshot: () => policySnapshot(agent.policies),
    policyOpinion: (request) => policyOpinion(agent.policies, agent.settings, request),
  };
}

export function textHandlers(agent: Agent): TextHandlers {
  return {
    metrics: async () => {
      refreshGauges(agent);
      noteRelays(agent.metrics, agent.kubernetes.relayUse());
      noteTunnel(agent.metrics, await agent.tunnel?.status());
      return { status: 200, body: await agent.metrics.registry.metrics() };
    },
    health: () => ({ status: 200, body: 'ok\n' }),
    ready: () => {
      const reasons = agent.notReadyReasons();
      return reasons.length === 0
        ? { status: 200, body: 'ok\n' }
        : { status: 503, body: `${reasons.join('\n')}\n` };
    },
  };
}

function refreshGauges(agent: Agent): void {
  const { host, metrics } = agent;
  metrics.items.set({ state: 'wanted' }, host.wanted.size);
  metrics.items.set({ state: 'seen' }, host.seen.size);
  metrics.items.set({ state: 'failed' }, host.failures.size);
  const { known: _, ...states } = countPeers(agent);
  for (const [state, count] of Object.entries(states)) metrics.peers.set({ state }, count);
  metrics.leaks.set(agent.chores.leaks.count);
  metrics.ready.set(agent.notReadyReasons().length === 0 ? 1 : 0);
  const byFamily = Map.groupBy(agent.addresses.pools.usages(), ({ prefix }) =>
    prefix.includes(':') ? '6' : '4',
  );
  for (const [family, usages] of byFamily) {
    const note = (state: string, of: (one: PrefixUsage) => number): void =>
      metrics.addresses.set(
        { family, state },
        usages.map(of).reduce((sum, count) => sum + count, 0),
      );
    for (const state of ['used', 'quarantined', 'free'] as const) note(state, ({ usage }) => usage[state]);
    note('borrowed', ({ borrowed, usage }) => (borrowed === true ? usage.used : 0));
  }
}

/** Settings hold no secrets, and neither do the log and BIRD's configuration as it is planned: nothing has to be blacked out. */
async function support(agent: Agent): Promise<{ files: Record<string, string> }> {
  const { host } = agent;
  const pretty = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;
  const lines = (items: Iterable<Parameters<typeof showItem>[0]>): string =>
    `${[...items].map(showItem).join('\n')}\n`;
  return {
    files: {
      'status.json': pretty(describeStatus(agent, await agent.tunnel?.status())),
      'settings.json': pretty(agent.settings),
      'facts.json': pretty(gatherFacts(sceneOf(agent))),
      'wanted.txt': lines(host.wanted.values()),
      'seen.txt': lines(host.seen.values()),
      'log.txt': agent.logTail.text(),
      ...agent.routing.files(),
      'metrics.txt': await agent.metrics.registry.metrics(),
    },
  };
}

/** Everything of ours leaves the kernel but the links of living pods; sysctls go back to what they were. */
async function purge(agent: Agent): Promise<{ removed: string[]; failed: string[] }> {
  const { host } = agent;
  const routing = await agent.routing.leave();
  const before = [...host.seen.values()];
  const failures = [...host.purge(), ...agent.sysctls.restore(agent.kernel)];
  const failed = new Set(failures.map((failure) => failure.step.key));
  const left = new Set(host.seen.values());
  const policy = agent.policies?.leave() ?? [];
  const kubernetes = await agent.kubernetes.leave();
  return {
    removed: [
      ...before.filter((item) => !left.has(item)).map(showItem),
      ...policy,
      ...routing,
      ...kubernetes.removed,
    ],
    failed: [...failed, ...kubernetes.failed],
  };
}
