/**
 * What the agent says of itself on its admin socket, as JSON: requests, answers and their schemas. Every value is
 * text, a number or a boolean, so an answer can be printed, stored and compared as it is. Fields may be added within
 * a version of the path (`/v1`), never removed or given another meaning; readers ignore what they do not know.
 */
import { z } from 'zod';
import { roadSchema } from './road.ts';

/** Times are ISO 8601 in UTC. */
const time = z.string();
const perFamily = z.object({ 4: z.string().optional(), 6: z.string().optional() });

export const underlaySchema = z.object({
  link: z.string(),
  /** Bytes. */
  mtu: z.number(),
  local: perFamily,
  announced: perFamily,
  connected: z.array(z.string()),
  why: z.string(),
});

/** The way to a peer in the userspace tunnel. */
export const tunnelPeerSchema = z.object({
  /** Where it is now, `address port`; absent while nobody knows. */
  endpoint: z.string().optional(),
  /** Largest packet that the way carries, bytes. */
  mtu: z.number(),
  /** Nothing came for longer than a peer keeps quiet. */
  silent: z.boolean(),
  /** Seconds since something came, and since the keys in use were made; absent in plain mode, and while there are none. */
  heardSeconds: z.number(),
  sessionSeconds: z.number().optional(),
  /** Those keys were made with the newest secrets of both nodes; true in plain mode. */
  newestKeys: z.boolean(),
  /** Of packets, without what the tunnel adds. */
  sentBytes: z.number(),
  receivedBytes: z.number(),
});

export const peerSchema = z.object({
  name: z.string(),
  /** Where its encapsulated packets come from and go to. */
  addresses: z.array(z.string()),
  /** What is routed to it: subnets, blocks, single addresses of other nodes' blocks. */
  subnets: z.array(z.string()),
  /** The peer's own addresses within its subnets. */
  inside: z.array(z.string()).optional(),
  /** `vxlan`, `direct`; absent while there is no road. */
  road: z.string().optional(),
  /** Largest packet the road carries, bytes. */
  mtu: z.number().optional(),
  /** One sentence: why this road, or why none. */
  why: z.string(),
  /** Absent: there is none to the peer, or its process does not answer. */
  tunnel: tunnelPeerSchema.optional(),
  /** `pending`: not all of it is in the kernel yet; `failed`: the kernel refuses some of it. */
  state: z.enum(['programmed', 'pending', 'failed', 'unreachable']),
});

/** One planned or found item of the host: `different` is there with other content, `extra` is ours and unwanted. */
export const itemSchema = z.object({
  key: z.string(),
  /** In the syntax of ip, bridge, tc or nft. */
  text: z.string(),
  wanted: z.boolean(),
  seen: z.enum(['ok', 'missing', 'different', 'extra']),
  error: z.string().optional(),
  hint: z.string().optional(),
});

export const podSchema = z.object({
  /** The CNI network. */
  network: z.string(),
  namespace: z.string().optional(),
  name: z.string().optional(),
  containerId: z.string(),
  ifname: z.string(),
  /** Path of its network namespace. */
  netns: z.string(),
  addresses: z.array(z.string()),
  hostLink: z.string(),
  mtu: z.number(),
  phase: z.enum(['planned', 'ready', 'deleting']),
});

/** Counts are decimal text: an IPv6 pool has more addresses than a number holds. */
export const poolSchema = z.object({
  prefix: z.string(),
  used: z.number(),
  free: z.string(),
  quarantined: z.number(),
});

/** A block of addresses, as the store has it. */
export const blockSchema = z.object({
  prefix: z.string(),
  /** To whom it is routed; absent: its node is gone. */
  node: z.string().optional(),
  /** Addresses that nobody holds. */
  free: z.number(),
  /** Who holds how many: the node itself ahead of its pods, others what they borrowed. */
  holders: z.array(z.object({ node: z.string(), held: z.number() })),
});

/** What blocks are cut from. */
export const blockPoolSchema = z.object({
  name: z.string(),
  prefix: z.string(),
  blockLength: z.number(),
  enabled: z.boolean(),
  automatic: z.boolean(),
  blocks: z.number(),
});

export const eventSchema = z.object({
  time,
  severity: z.enum(['info', 'warning', 'error']),
  text: z.string(),
});

export const nameStatusSchema = z.object({
  names: z.number(),
  addresses: z.number(),
  /** Addresses that were given up for others before their time. */
  displaced: z.number(),
  /** Whose answers are believed. */
  servers: z.array(z.string()),
  /** `hold`: answers wait until rules know them; `copy`: they do not, and a first packet may come too soon. Absent: none is heard. */
  way: z.enum(['hold', 'copy']).optional(),
  /** Why nothing is learned. */
  problem: z.string().optional(),
});

export const policyStatusSchema = z.object({
  /** What would be denied passes and is logged. */
  audit: z.boolean(),
  /** Policies in force, of all kinds and namespaces. */
  policies: z.number(),
  /** Entries of the kernel's maps. */
  entries: z.number(),
  /** Nobody else can change the table (Linux 6.9). */
  owned: z.boolean(),
  /** What is wrong with objects, at its place; what was in force of them stays. */
  problems: z.array(z.object({ path: z.string(), message: z.string() })),
  /** Stopped by the brake: the sentence says what vanished. */
  braked: z.string().optional(),
  /** DNS names that rules know here; absent: no rule names any. */
  names: nameStatusSchema.optional(),
});

/** How the agent's watches of the store stand. */
export const relaysSchema = z.object({
  /** Relays that told of themselves when they were looked for last. */
  known: z.number(),
  /** Those that are read. */
  through: z.array(z.string()),
  /** Watches through them, of the store itself, and without either. */
  watches: z.object({ relay: z.number(), store: z.number(), waiting: z.number() }),
  /** Why the last relay was left, or did not answer; absent: one has answered since. */
  problem: z.string().optional(),
});

export const statusSchema = z.object({
  version: z.string(),
  node: z.string(),
  profile: z.string(),
  pid: z.number(),
  startedAt: time,
  /** Ready: since the agent started, the kernel once held all peers that the store had, and pods can be added. */
  ready: z.boolean(),
  /** What is missing for `ready`, one sentence each; empty when ready. */
  reasons: z.array(z.string()),
  /** Frozen by `tartan pause`: nothing in the kernel is changed. */
  paused: z.boolean(),
  /** Stopped by the brake: the sentence says what the pass would have removed. */
  braked: z.string().optional(),
  underlay: underlaySchema.optional(),
  /** Subnets of this node. */
  subnets: perFamily,
  /** MTU of new pods. */
  podMtu: z.number().optional(),
  /** The road of the cluster, and its change. */
  road: roadSchema.omit({ nodes: true }).optional(),
  /** Absent: no relay is asked for. */
  relays: relaysSchema.optional(),
  /** Absent: policy is off. */
  policy: policyStatusSchema.optional(),
  peers: z.array(peerSchema),
  items: z.array(itemSchema),
  pods: z.array(podSchema),
  pools: z.array(poolSchema),
  /** All blocks of the cluster; absent where there are none. */
  blocks: z.array(blockSchema).optional(),
  /** Absent: this node has a subnet. */
  blockPools: z.array(blockPoolSchema).optional(),
  events: z.array(eventSchema),
});

export type Status = z.infer<typeof statusSchema>;
export type NameStatus = z.infer<typeof nameStatusSchema>;
export type PolicyStatus = z.infer<typeof policyStatusSchema>;
export type RelayStatus = z.infer<typeof relaysSchema>;
export type PeerStatus = z.infer<typeof peerSchema>;
export type ItemStatus = z.infer<typeof itemSchema>;
export type PodStatus = z.infer<typeof podSchema>;
export type PoolStatus = z.infer<typeof poolSchema>;
export type BlockStatus = z.infer<typeof blockSchema>;
export type BlockPoolStatus = z.infer<typeof blockPoolSchema>;
export type EventStatus = z.infer<typeof eventSchema>;
