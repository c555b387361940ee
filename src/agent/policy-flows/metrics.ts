/** What flows and policies count for Prometheus. However many policies there are, labels stay few. */
import { Counter, type Registry } from 'prom-client';
import type { FlowEvent } from '#model/flow-event.ts';
import type { Direction } from '#model/policy.ts';

/** Policies that have a series of their own; all that come later share one. */
const NAMED = 500;
const OTHERS = 'others';

export type Decided = { readonly policy: string; readonly action: 'allow' | 'deny' };
export type Amount = { readonly packets: number; readonly bytes: number };

export type FlowMetrics = {
  onEvent(event: FlowEvent): void;
  onLost(packets: number): void;
  onDecided(by: Decided, amount: Amount): void;
  onDenied(direction: Direction | 'unknown', packets: number): void;
};

/** `refresh`: asked before each scrape; its counters are then up to date. Never throws. */
export function openFlowMetrics(registry: Registry, refresh: () => Promise<void>): FlowMetrics {
  const registers = [registry];
  const counter = <T extends string>(
    name: string,
    help: string,
    labelNames: readonly T[],
    collect: () => void | Promise<void> = () => {},
  ) => new Counter({ name, help, labelNames: [...labelNames], registers, collect });
  const told = counter('tartan_flow_packets_total', 'Packets told of in the log of flows', [
    'verdict',
    'policy',
  ]);
  const lost = counter('tartan_flow_lost_packets_total', 'Packets that came too fast to be told of', []);
  const packets = counter(
    'tartan_policy_packets_total',
    'Packets that would begin a connection, by the policy that decided',
    ['policy', 'action'],
    refresh,
  );
  const bytes = counter('tartan_policy_bytes_total', 'Bytes of these packets', ['policy', 'action'], refresh);
  const denied = counter(
    'tartan_policy_denied_packets_total',
    'Packets that policies denied, told of or not; with policy.audit they passed',
    ['direction'],
    refresh,
  );
  const names = new Set<string>();
  const named = (policy: string): string => {
    if (!names.has(policy) && names.size >= NAMED) return OTHERS;
    names.add(policy);
    return policy;
  };
  return {
    onEvent: (event) => told.inc({ verdict: event.verdict, policy: named(policyLabel(event)) }, event.count),
    onLost: (count) => lost.inc(count),
    onDecided: ({ policy, action }, amount) => {
      const labels = { policy: named(policy), action };
      packets.inc(labels, amount.packets);
      bytes.inc(labels, amount.bytes);
    },
    onDenied: (direction, count) => denied.inc({ direction }, count),
  };
}

/** What no rule decided is its tier's. */
export function policyLabel({ policy, tier }: { readonly policy?: string; readonly tier?: string }): string {
  return policy ?? (tier === undefined ? 'unknown' : `tier ${tier}`);
}
