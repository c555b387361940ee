/** What `tartan routes` shows: sessions, what is announced, what is learned and why some of that is not used. */
import { z } from 'zod';

export const bfdSchema = z.object({
  /** RFC 5880's word; `absent`: BIRD has none (yet). */
  state: z.enum(['AdminDown', 'Down', 'Init', 'Up', 'absent']),
  /** Local time of the node. */
  since: z.string().optional(),
  /** Between two packets from here. */
  intervalMs: z.number().optional(),
  /** A peer that is silent so long is gone; 0 while both have not agreed. */
  timeoutMs: z.number().optional(),
});

export const sessionSchema = z.object({
  /** As BIRD has it. */
  name: z.string(),
  /** Whom it is with: a node, or the rule that asks for it. */
  peer: z.string(),
  protocol: z.enum(['BGP', 'OSPF']),
  address: z.string().optional(),
  as: z.number().optional(),
  localAs: z.number().optional(),
  up: z.boolean(),
  /** The protocol's own word, as Established. */
  state: z.string(),
  /** Local time of the node. */
  since: z.string().optional(),
  /** Why it is not up. */
  why: z.string().optional(),
  /** Of sessions that ask for BFD. */
  bfd: bfdSchema.optional(),
  imported: z.number(),
  exported: z.number(),
  /** Refused by import filters. */
  filtered: z.number(),
});

export const announcedSchema = z.object({
  prefix: z.string(),
  kind: z.enum(['pods', 'services', 'aggregates']),
  /** Aggregates are told to peers outside the cluster only. */
  to: z.enum(['all peers', 'peers outside']),
});

export const learnedSchema = z.object({
  prefix: z.string(),
  session: z.string(),
  peer: z.string(),
  via: z.array(z.string()),
  used: z.boolean(),
  why: z.string().optional(),
  asPath: z.array(z.number()),
  nextHop: z.string().optional(),
  localPreference: z.number().optional(),
  communities: z.array(z.string()),
});

export const routesSchema = z.object({
  /** False: no routing protocol is spoken, and all else is empty. */
  enabled: z.boolean(),
  /** BIRD runs and answers. */
  up: z.boolean(),
  routerId: z.string().optional(),
  as: z.number().optional(),
  sessions: z.array(sessionSchema),
  announced: z.array(announcedSchema),
  learned: z.array(learnedSchema),
  /** What is wrong with settings, objects and BIRD itself. */
  problems: z.array(z.object({ path: z.string(), message: z.string() })),
  warnings: z.array(z.object({ path: z.string(), message: z.string() })),
  /** Stopped by the brake: the sentence says what would be given up. */
  braked: z.string().optional(),
});

export type Routes = z.infer<typeof routesSchema>;
export type RouteSession = z.infer<typeof sessionSchema>;
