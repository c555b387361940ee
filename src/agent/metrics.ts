/** Prometheus metrics of one agent. */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { RelayUse } from '#stores/relay/relays.ts';
import type { TunnelStatus } from '#tunnel/tunnel.ts';

const LATENCY = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];

export type Metrics = {
  readonly registry: Registry;
  readonly cniSeconds: Histogram<'verb' | 'code'>;
  readonly passes: Counter<'result'>;
  readonly passSeconds: Histogram;
  readonly failures: Counter<'kind'>;
  readonly convergenceSeconds: Histogram;
  readonly items: Gauge<'state'>;
  readonly peers: Gauge<'state'>;
  readonly addresses: Gauge<'family' | 'state'>;
  readonly leaks: Gauge;
  readonly tunnel: Gauge<'what'>;
  readonly ready: Gauge;
  readonly watches: Gauge<'way'>;
  readonly relays: Gauge;
};

export function openMetrics(node: string): Metrics {
  const registry = new Registry();
  registry.setDefaultLabels({ node });
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  const histogram = <T extends string>(
    name: string,
    help: string,
    labelNames: readonly T[] = [],
  ): Histogram<T> => new Histogram({ name, help, labelNames: [...labelNames], buckets: LATENCY, registers });
  const gauge = <T extends string>(name: string, help: string, labelNames: readonly T[] = []): Gauge<T> =>
    new Gauge({ name, help, labelNames: [...labelNames], registers });
  const counter = <T extends string>(name: string, help: string, labelNames: readonly T[]): Counter<T> =>
    new Counter({ name, help, labelNames: [...labelNames], registers });
  return {
    registry,
    cniSeconds: histogram('tartan_cni_seconds', 'CNI requests, from accept to answer', ['verb', 'code']),
    passes: counter('tartan_passes_total', 'Reconciliation passes of the host', ['result']),
    passSeconds: histogram('tartan_pass_seconds', 'Duration of reconciliation passes'),
    failures: counter('tartan_step_failures_total', 'Kernel steps that failed, by kind of item', ['kind']),
    convergenceSeconds: histogram('tartan_convergence_seconds', 'Store change received to kernel programmed'),
    items: gauge('tartan_items', 'Items wanted, seen and failed', ['state']),
    peers: gauge('tartan_peers', 'Other nodes by state', ['state']),
    addresses: gauge('tartan_addresses', 'Pod addresses by state', ['family', 'state']),
    tunnel: gauge('tartan_tunnel', 'The userspace tunnel: peers, and what its process has counted', ['what']),
    leaks: gauge('tartan_leaked_attachments', 'Attachments whose network namespace is gone'),
    ready: gauge('tartan_ready', '1 when the node is ready for pods'),
    watches: gauge('tartan_store_watches', 'Watches through a relay, of the store itself, and waiting', [
      'way',
    ]),
    relays: gauge('tartan_relays_known', 'Relays that told of themselves when they were looked for last'),
  };
}

/** Undefined: no relay is asked for. */
export function noteRelays({ watches, relays }: Metrics, use: RelayUse | undefined): void {
  if (use === undefined) return;
  relays.set(use.known);
  for (const [way, count] of Object.entries(use.watches)) watches.set({ way }, count);
}

/** Sums over all peers: with thousands of nodes a series for each would be too many. Undefined: nothing is carried. */
export function noteTunnel({ tunnel }: Metrics, status: TunnelStatus | undefined): void {
  tunnel.reset();
  if (status === undefined) return;
  const { peers, counters } = status;
  for (const what of Object.keys(counters) as (keyof typeof counters)[])
    tunnel.set(
      { what },
      peers.reduce((sum, peer) => sum + peer.counters[what], counters[what]),
    );
  tunnel.set({ what: 'peers' }, peers.length);
  tunnel.set({ what: 'silentPeers' }, peers.filter(({ silent }) => silent).length);
}
