/** The log of flows, the staged table and what is measured of policies, for an agent that enforces policies. */
import type { AgentParts } from '../parts.ts';
import { createFlowLog, type FlowLog } from './flow-log.ts';
import { openFlowMetrics } from './metrics.ts';
import { Staged } from './staged.ts';
import { Usage } from './usage.ts';
import { readLog } from '#kernel/nflog.ts';
import { openCounts } from '#kernel/nftables/policy/counts.ts';
import type { Denial } from '#kernel/nftables/policy/denied.ts';
import type { PolicyProgram } from '#model/policy-program.ts';
import type { PolicySettings, Settings } from '#model/settings.ts';
import type { PolicyView } from '#policy/inputs/inputs.ts';

export type FlowsOptions = {
  readonly parts: Pick<AgentParts, 'settings' | 'kernel' | 'clock' | 'log' | 'events' | 'signal' | 'metrics'>;
  readonly policies: { view(): PolicyView; program(): PolicyProgram };
};

export type Flows = FlowLog & {
  /** To be loaded each time when what is enforced has been. */
  readonly staged: Staged;
};

/** How denied packets end by the settings. */
export function denialOf({ logDeniedPerSecond, audit }: PolicySettings): Denial {
  return { logPerSecond: logDeniedPerSecond, audit };
}

/** The bridge that pods hang on, for the tables that have to know it. */
export function bridgeOf({ wiring }: Settings): { readonly bridge?: string } {
  return wiring.type === 'bridge' ? { bridge: wiring.bridge.name } : {};
}

/** In the calling thread's network namespace. */
export function startFlows({ parts, policies }: FlowsOptions): Flows {
  const { settings, kernel, clock, log, events, signal } = parts;
  const inPlace = <T>(work: () => T): T => work();
  const enforced = (): PolicyProgram => policies.program();
  const staged = new Staged({
    node: settings.node.name,
    kernel,
    log,
    logPerSecond: settings.policy.logDeniedPerSecond,
    ...bridgeOf(settings),
  });
  const usage = new Usage({
    counts: openCounts(inPlace),
    program: enforced,
    clock,
    onError: (error) => log.warn({ error: String(error) }, 'the counters of policies cannot be read'),
  });
  const metrics = openFlowMetrics(parts.metrics.registry, () => usage.refresh(metrics));
  const flowLog = createFlowLog({
    node: settings.node.name,
    readLog: (options) => readLog(inPlace, options),
    view: () => policies.view(),
    programs: { enforced, staged: () => staged.program() },
    metrics,
    clock,
    log,
    events,
    signal,
  });
  return { ...flowLog, staged };
}
