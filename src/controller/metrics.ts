/** Prometheus metrics of one controller; those of the cluster are told by the one that leads. */
import { collectDefaultMetrics, Counter, Gauge, Registry } from 'prom-client';
import type { ClusterStatus } from '#model/cluster-status.ts';

export type Metrics = {
  readonly registry: Registry;
  readonly leading: Gauge;
  readonly writes: Counter<'verb' | 'kind'>;
  readonly failures: Counter<'duty'>;
  readonly braked: Gauge;
  readonly nodes: Gauge<'state'>;
  readonly conflicts: Gauge;
  readonly subnets: Gauge<'range' | 'state'>;
  readonly poolAddresses: Gauge<'pool' | 'state'>;
  readonly poolBlocks: Gauge<'pool' | 'state'>;
};

export function openMetrics(): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  const gauge = <T extends string>(name: string, help: string, labelNames: readonly T[] = []): Gauge<T> =>
    new Gauge({ name, help, labelNames: [...labelNames], registers });
  const counter = <T extends string>(name: string, help: string, labelNames: readonly T[]): Counter<T> =>
    new Counter({ name, help, labelNames: [...labelNames], registers });
  return {
    registry,
    leading: gauge('tartan_controller_leading', '1 where this controller leads'),
    writes: counter('tartan_controller_writes_total', 'What was written or removed', ['verb', 'kind']),
    failures: counter('tartan_controller_failures_total', 'Passes that failed, by duty', ['duty']),
    braked: gauge('tartan_controller_braked', '1 while too many nodes are gone at once to be believed'),
    nodes: gauge('tartan_cluster_nodes', 'Nodes by state', ['state']),
    conflicts: gauge('tartan_cluster_subnet_conflicts', 'Subnets that two nodes want, fifty at most'),
    subnets: gauge('tartan_cluster_subnets', 'Node subnets', ['range', 'state']),
    poolAddresses: gauge('tartan_cluster_pool_addresses', 'Addresses of blocks', ['pool', 'state']),
    poolBlocks: gauge('tartan_cluster_pool_blocks', 'Blocks of pools', ['pool', 'state']),
  };
}

/** Undefined: this controller does not lead, and tells nothing. */
export function noteCluster(metrics: Metrics, status: ClusterStatus | undefined): void {
  const { nodes, subnets, poolAddresses, poolBlocks, conflicts, braked } = metrics;
  for (const gauge of [nodes, subnets, poolAddresses, poolBlocks]) gauge.reset();
  braked.set(status?.braked === undefined ? 0 : 1);
  conflicts.set(status?.conflicts.length ?? 0);
  if (status === undefined) return;
  nodes.set({ state: 'ready' }, status.nodes.ready);
  nodes.set({ state: 'not-ready' }, status.nodes.total - status.nodes.ready);
  nodes.set({ state: 'leaving' }, status.nodes.leaving.length);
  for (const { range, total, taken } of status.subnets) {
    subnets.set({ range, state: 'taken' }, taken);
    subnets.set({ range, state: 'free' }, total - taken);
  }
  for (const { name: pool, blocks, freeBlocks, addresses } of status.pools) {
    poolBlocks.set({ pool, state: 'taken' }, blocks);
    poolBlocks.set({ pool, state: 'free' }, freeBlocks);
    poolAddresses.set({ pool, state: 'held' }, addresses.held);
    poolAddresses.set({ pool, state: 'free' }, addresses.free);
  }
}
