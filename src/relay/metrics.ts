/** Prometheus metrics of one relay. */
import { collectDefaultMetrics, Counter, Gauge, Registry } from 'prom-client';

export type Metrics = {
  readonly registry: Registry;
  readonly connections: Gauge;
  readonly readers: Gauge;
  readonly objects: Gauge;
  readonly away: Gauge;
  readonly events: Counter<'kind' | 'type'>;
  readonly cut: Counter;
  readonly refused: Counter<'status'>;
};

export function openMetrics(): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  const gauge = (name: string, help: string): Gauge => new Gauge({ name, help, registers });
  const counter = <T extends string>(name: string, help: string, labelNames: readonly T[]): Counter<T> =>
    new Counter({ name, help, labelNames: [...labelNames], registers });
  return {
    registry,
    connections: gauge('tartan_relay_connections', 'Connections, one for each agent'),
    readers: gauge('tartan_relay_readers', 'Watches that are read, one for each kind and agent'),
    objects: gauge('tartan_relay_objects', 'Objects that readers are told of'),
    away: gauge('tartan_relay_away', '1 while nothing is heard from the store of some kind'),
    events: counter('tartan_relay_events_total', 'What the store has told', ['kind', 'type']),
    cut: counter('tartan_relay_cut_total', 'Readers that were too slow', []),
    refused: counter('tartan_relay_refused_total', 'Watches that were refused', ['status']),
  };
}
