/**
 * How many pods and nodes fit: arithmetic on subnets, cloud route tables, AWS interfaces and what grows with the number of
 * nodes. Each line names where its rule comes from (facts/sources.yaml).
 */
import type { Facts } from '../facts/facts.ts';
import { withClaim } from '../facts/facts.ts';
import type { InstanceLimits } from './instances.ts';

export type CapacityQuery = {
  /** Length of the cluster’s IPv4 range and of a node’s subnet, in bits. */
  readonly rangeLength: number;
  readonly subnetLength: number;
  readonly nodes?: number | undefined;
  readonly podsPerNode?: number | undefined;
  readonly daemonSets: number;
  /** Of which cloud the route tables count; absent: all are told of. */
  readonly platform?: string | undefined;
  readonly instance?: InstanceLimits | undefined;
  /** Of one node in a month, in any currency. */
  readonly price?: number | undefined;
};

export type CapacityLine = {
  readonly what: string;
  readonly amount: number;
  /** Of what was asked for: absent when nothing was. */
  readonly enough?: boolean;
  readonly how: string;
  /** A name of facts/sources.yaml. */
  readonly source: string;
};

/** A /28 has 16 addresses. */
const PREFIX_ADDRESSES = 16;
/** aws-node and kube-proxy are on the host’s own network. */
const HOST_NETWORK_PODS = 2;
/** Kubernetes’ default of kubelet’s maxPods. */
export const KUBELET_PODS = 110;

/** Pods on an instance: interfaces × (addresses − 1) + 2, each slot a prefix of 16 where prefixes are used. */
export function podsOnInstance({ interfaces, addresses }: InstanceLimits, prefixes: boolean): number {
  return interfaces * (addresses - 1) * (prefixes ? PREFIX_ADDRESSES : 1) + HOST_NETWORK_PODS;
}

/** Subnets of nodes in the cluster’s range: the first is not handed out (flannel’s rule, and Tartan’s). */
export function nodeSubnets(rangeLength: number, subnetLength: number): number {
  return Math.max(0, 2 ** (subnetLength - rangeLength) - 1);
}

/** Addresses for pods in a node’s subnet: not the network’s, the gateway’s and the broadcast. */
export function podsInSubnet(subnetLength: number): number {
  return Math.max(0, 2 ** (32 - subnetLength) - 3);
}

export function capacityOf(query: CapacityQuery): CapacityLine[] {
  return [...subnetLines(query), ...instanceLines(query), ...routeTables(query), ...growth(query)];
}

function subnetLines({
  rangeLength,
  subnetLength,
  nodes,
  podsPerNode,
  daemonSets,
}: CapacityQuery): CapacityLine[] {
  const subnets = nodeSubnets(rangeLength, subnetLength);
  const pods = podsInSubnet(subnetLength) - daemonSets;
  return [
    {
      what: 'nodes with a subnet',
      amount: subnets,
      ...(nodes === undefined ? {} : { enough: subnets >= nodes }),
      how: `2^(${subnetLength} − ${rangeLength}) − 1: the first is not handed out`,
      source: 'tartan',
    },
    {
      what: 'pods in a node’s subnet',
      amount: pods,
      ...(podsPerNode === undefined ? {} : { enough: pods >= podsPerNode }),
      how: `2^(32 − ${subnetLength}) − 3 (network, gateway, broadcast) − ${daemonSets} DaemonSets`,
      source: 'tartan',
    },
  ];
}

function instanceLines(query: CapacityQuery): CapacityLine[] {
  const { instance, podsPerNode, daemonSets, price } = query;
  if (instance === undefined) return [];
  const modes = instance.prefixes ? [false, true] : [false];
  return modes.flatMap((prefixes) => {
    const pods = podsOnInstance(instance, prefixes) - daemonSets;
    const { interfaces, addresses, type } = instance;
    const times = prefixes ? ` × ${PREFIX_ADDRESSES}` : '';
    const mode = prefixes ? 'prefixes' : 'single addresses';
    const line: CapacityLine = {
      what: `pods on ${type} with ${mode}`,
      amount: pods,
      ...(podsPerNode === undefined ? {} : { enough: pods >= podsPerNode }),
      how: `${interfaces} × (${addresses} − 1)${times} + ${HOST_NETWORK_PODS} − ${daemonSets} DaemonSets`,
      source: 'aws',
    };
    return price === undefined ? [line] : [line, costLine(line, Math.min(pods, KUBELET_PODS), price)];
  });
}

function costLine({ what, source }: CapacityLine, pods: number, price: number): CapacityLine {
  const amount = Math.round((price / Math.max(1, pods)) * 100) / 100;
  return {
    what: `price of one of the ${what}`,
    amount,
    how: `${price} / ${pods} pods (kubelet: ${KUBELET_PODS})`,
    source,
  };
}

const ROUTE_TABLES = [
  ['aws', 'AWS', 50],
  ['gcp', 'Google Cloud, historically', 100],
  ['azure', 'Azure', 400],
] as const;

function routeTables({ nodes, platform }: CapacityQuery): CapacityLine[] {
  return ROUTE_TABLES.filter(([name]) => (platform ?? name) === name).map(([, cloud, amount]) => ({
    what: `nodes by cloud routes: ${cloud}`,
    amount,
    ...(nodes === undefined ? {} : { enough: amount >= nodes }),
    how: 'one route per node in one table',
    source: 'kubenet-routes',
  }));
}

/** Where somebody ran into trouble, or advises something else. */
const ADVISED_MESH_NODES = 100;
const WEAVE_NODES = 100;

function growth({ nodes = 0 }: CapacityQuery): CapacityLine[] {
  if (nodes === 0) return [];
  const mesh = { amount: (nodes * (nodes - 1)) / 2, enough: nodes <= ADVISED_MESH_NODES };
  return [
    {
      what: 'kernel objects per node for VXLAN and one family',
      amount: 3 * (nodes - 1),
      how: 'a route, a neighbour and an FDB entry for each peer',
      source: 'flannel',
    },
    {
      what: 'BGP sessions of a full mesh',
      ...mesh,
      how: `n (n − 1) / 2; reflectors above ${ADVISED_MESH_NODES} nodes`,
      source: 'kops-6047',
    },
    {
      what: 'connections of a full gossip mesh',
      amount: mesh.amount,
      enough: nodes <= WEAVE_NODES,
      how: `n (n − 1) / 2; Weave Net has trouble past ${WEAVE_NODES} to 200 nodes`,
      source: 'weave-3940',
    },
  ];
}

/** The facts with what the VPC CNI can hold on these instances. */
export function withInstance(facts: Facts, instance: InstanceLimits): Facts {
  const pods = podsOnInstance(instance, instance.prefixes);
  const value = instance.prefixes ? Math.min(pods, KUBELET_PODS) : pods;
  return withClaim(facts, 'aws-vpc-cni', 'podsPerNode', {
    value,
    source: 'aws',
    date: facts.sources['aws']?.date ?? '',
    note: instance.prefixes
      ? `${instance.type}: ${podsOnInstance(instance, false)} with single addresses, ${pods} with prefixes, of which kubelet takes ${KUBELET_PODS} by default`
      : `${instance.type} has no prefixes`,
  });
}
