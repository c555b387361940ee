/** Small clusters for tests. */
import type { RoutingNode, RoutingSettings } from '#model/routing.ts';
import { address } from '#net/address.ts';
import { prefix } from '#net/prefix.ts';
import type { RoutingInput } from '../plan.ts';

export const SETTINGS: RoutingSettings = {
  as: 64_512,
  port: 179,
  mesh: 'all',
  restartS: 120,
  routerId: 'address',
  bindToNode: false,
  logLevel: 'info',
  ignoredInterfaces: [],
  pools: [
    { prefix: prefix('10.77.0.0/16'), exported: true, installed: true },
    { prefix: prefix('fd77::/48'), exported: true, installed: true },
  ],
  services: { ranges: { cluster: [], external: [], 'load-balancer': [] }, single: [] },
  aggregates: [],
  tags: [],
  metric: 544,
};

/** Node N has 192.168.1.N and fd00::N, and pods in 10.77.N.0/24 and fd77:0:0:N::/64. */
export function nodeOf(number: number, more: Partial<RoutingNode> = {}): RoutingNode {
  return {
    name: `n${number}`,
    labels: { 'kubernetes.io/hostname': `n${number}` },
    addresses: { 4: address(`192.168.1.${number}`), 6: address(`fd00::${number}`) },
    prefixes: [prefix(`10.77.${number}.0/24`), prefix(`fd77:0:0:${number}::/64`)],
    withoutServices: false,
    prepend: [],
    communities: [],
    ...more,
  };
}

export function inputOf(more: Partial<RoutingInput> = {}): RoutingInput {
  return {
    self: 'n1',
    settings: SETTINGS,
    overrides: new Map(),
    peers: [],
    filters: [],
    nodes: [nodeOf(1), nodeOf(2), nodeOf(3)],
    services: [],
    hasSecret: () => true,
    ...more,
  };
}
