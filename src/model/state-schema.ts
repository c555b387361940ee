/**
 * What the store's kinds hold, as schemas: of each object, what stands in `spec`. Custom resources of Kubernetes are made of
 * them (src/deploy/crds.ts), so patterns are such as RE2 knows too. Only what was always written is required: agents one
 * release apart read and write each other's objects.
 */
import { z } from 'zod';
import { type Address, parseAddress } from '#net/address.ts';
import { type Mac, parseMac } from '#net/mac.ts';
import { parsePrefix, type Prefix } from '#net/prefix.ts';
import type { Block, BlockLengths } from './block.ts';
import type { ClusterStatus } from './cluster-status.ts';
import { wholeNumber } from './manifest-shapes.ts';
import type { RelayAdvert } from './relay.ts';
import { type RoadSwitch, SWITCH_PHASES } from './road-switch.ts';
import { ROAD_NAMES, ROAD_TYPES, TUNNEL_CIPHERS } from './settings.ts';
import type { NodeWorkloads } from './workload.ts';
import type { NodeAdvert, SubnetClaim } from './world.ts';

const address = z
  .string()
  .max(45)
  .refine((text): text is Address => parseAddress(text) === text, 'must be an IP address')
  .meta({ pattern: '^[0-9a-f.:]+$' });

const prefix = z
  .string()
  .max(49)
  .refine((text): text is Prefix => parsePrefix(text) === text, 'must be a prefix with no host bits set')
  .meta({ pattern: '^[0-9a-f.:]+/[0-9]+$' });

const mac = z
  .string()
  .refine((text): text is Mac => parseMac(text) === text, 'must be a MAC address')
  .meta({ pattern: '^[0-9a-f]{2}(:[0-9a-f]{2}){5}$' });

const nodeName = z.string().min(1).max(253);
const port = wholeNumber(1, 65_535);
const vni = wholeNumber(0, 0xff_ff_ff);
const count = wholeNumber(0, Number.MAX_SAFE_INTEGER);
const texts = z.record(z.string(), z.string());
const road = z.enum(ROAD_NAMES);
const roadSpec = z.strictObject({ type: z.enum(ROAD_TYPES), mode: z.enum(['Always', 'CrossSubnet']) });
const phase = z.enum(SWITCH_PHASES);

/** In an object of a node that the controller takes for gone. */
const questioned = z.string().exactOptional();

/** For IPv4, for IPv6, or for both. */
function perFamily<T extends z.ZodType>(item: T) {
  return z.strictObject({ 4: item.exactOptional(), 6: item.exactOptional() });
}

const routing = z.strictObject({
  as: wholeNumber(0, 2 ** 32 - 1).exactOptional(),
  reflector: z
    .strictObject({ role: z.enum(['server', 'client']), clusterId: address, meshed: z.boolean() })
    .exactOptional(),
});

const ipsec = z.strictObject({
  nonce: z.string(),
  again: z.record(z.string(), count),
  secrets: z.array(z.string()),
  port,
  udp: z.boolean(),
});

const progress = z.strictObject({
  generation: count,
  phase,
  state: z.enum(['reached', 'waiting', 'failed']),
  why: z.string().exactOptional(),
});

const station = z.strictObject({ mac, addresses: z.array(address) });

export const nodeSchema = z.strictObject({
  questioned,
  name: nodeName,
  addresses: perFamily(address).meta({ description: 'Where peers send to.' }),
  subnets: perFamily(prefix).meta({ description: 'Subnets whose pods live on the node.' }),
  addressing: z.literal('blocks').exactOptional(),
  blocks: z.array(prefix).exactOptional(),
  inside: perFamily(address)
    .exactOptional()
    .meta({ description: 'The node’s own addresses within its subnets.' }),
  road: road.meta({ description: 'By which it sends, where the peer takes it.' }),
  accepts: z.array(road).exactOptional().meta({ description: 'By which it takes packets in.' }),
  connected: z.array(prefix).exactOptional(),
  vxlan: z.strictObject({ vni, port, mac: perFamily(mac) }).exactOptional(),
  wireguard: z.strictObject({ publicKey: z.string(), port }).exactOptional(),
  ipsec: ipsec.exactOptional(),
  routing: routing.exactOptional(),
  labels: texts.exactOptional(),
  annotations: texts.exactOptional(),
  udp: z
    .strictObject({
      port,
      cipher: z.enum(TUNNEL_CIPHERS),
      publicKeys: z.array(z.string()).exactOptional(),
    })
    .exactOptional(),
  configured: roadSpec.exactOptional(),
  progress: progress.exactOptional(),
  fou: z.strictObject({ port }).exactOptional(),
  layer2: z.strictObject({ vni, port, stations: z.array(station).exactOptional() }).exactOptional(),
  mtu: wholeNumber(1, 2 ** 31 - 1).meta({ description: 'Of the node’s underlay link, in bytes.' }),
  ready: z.boolean().meta({ description: 'All its peers have been programmed at least once since boot.' }),
  version: z.string().exactOptional().meta({ description: 'Of the agent’s program.' }),
}) satisfies z.ZodType<NodeAdvert>;

export const claimSchema = z.strictObject({
  questioned,
  node: nodeName,
  subnet: prefix,
  reserved: z.boolean().meta({ description: 'Made by an operator: only that node may use it.' }),
}) satisfies z.ZodType<SubnetClaim>;

export const workloadsSchema = z.strictObject({
  questioned,
  node: nodeName,
  pods: z.array(
    z.strictObject({
      namespace: z.string(),
      name: z.string(),
      addresses: z.array(address),
      labels: texts,
      account: z.string().exactOptional(),
      ports: z
        .array(z.strictObject({ name: z.string(), protocol: wholeNumber(0, 255), port }))
        .exactOptional(),
    }),
  ),
}) satisfies z.ZodType<NodeWorkloads>;

export const switchSchema = z.strictObject({
  generation: count,
  from: roadSpec,
  to: roadSpec,
  phase,
  without: z.array(nodeName).meta({ description: 'Nodes that are not waited for.' }),
}) satisfies z.ZodType<RoadSwitch>;

export const blockSchema = z.strictObject({
  prefix,
  node: nodeName.exactOptional().meta({ description: 'To whom it is routed as a whole.' }),
  free: z.string().meta({ description: 'Numbers held by nobody, such as 1-16,20; the order counts.' }),
  holders: z.record(z.string(), z.strictObject({ numbers: z.string(), term: count })),
}) satisfies z.ZodType<Block>;

export const blockLengthsSchema = z.strictObject({
  pools: z
    .record(z.string(), wholeNumber(20, 126))
    .meta({ description: 'In bits, by the prefix of the pool.' }),
}) satisfies z.ZodType<BlockLengths>;

export const clusterStatusSchema = z.strictObject({
  controller: z.string(),
  version: z.string(),
  nodes: z.strictObject({
    total: count,
    ready: count,
    notReady: z.array(z.string()),
    leaving: z.array(z.string()).meta({ description: 'Taken for gone: what they had is being taken back.' }),
  }),
  versions: z.record(z.string(), count),
  roads: z.record(z.string(), count),
  conflicts: z.array(z.string()),
  subnets: z.array(z.strictObject({ range: prefix, total: count, taken: count })),
  pools: z.array(
    z.strictObject({
      name: z.string(),
      prefix,
      blocks: count,
      freeBlocks: count,
      addresses: z.strictObject({ held: count, free: count }),
    }),
  ),
  braked: z.string().exactOptional().meta({ description: 'Why the controller removes nothing now.' }),
  gone: count.exactOptional().meta({ description: 'Of how many nodes it would remove something.' }),
  believed: count
    .exactOptional()
    .meta({ description: 'An operator’s word that so many are gone; the leader takes it away.' }),
}) satisfies z.ZodType<ClusterStatus>;

export const relaySchema = z.strictObject({
  address: z.string(),
  port,
  certificate: z.string().meta({ description: 'By which agents know it: PEM, vouching for itself.' }),
  version: z.string(),
}) satisfies z.ZodType<RelayAdvert>;
