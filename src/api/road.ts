/** Calls about the road between nodes: what it is, and how the cluster changes it. */
import { z } from 'zod';
import { SWITCH_PHASES } from '#model/road-switch.ts';
import { ROAD_TYPES } from '#model/settings.ts';

const specSchema = z.object({ type: z.enum(ROAD_TYPES), mode: z.enum(['Always', 'CrossSubnet']) });
const phase = z.enum(SWITCH_PHASES);

/** What keeps the cluster from the next phase. `failed`: the node needs help; else it is waited for. */
const holdSchema = z.object({ node: z.string(), why: z.string(), failed: z.boolean() });

export const roadSchema = z.object({
  /** The road of the cluster, or the one that it changes to. */
  road: specSchema,
  /** What this node's settings say, where it is another one. */
  configured: specSchema.optional(),
  /** Under way, or done and standing in place of the settings. */
  change: z
    .object({
      generation: z.number(),
      from: specSchema,
      to: specSchema,
      phase,
      without: z.array(z.string()),
    })
    .optional(),
  holds: z.array(holdSchema),
  nodes: z.array(z.object({ name: z.string(), sends: z.string(), accepts: z.array(z.string()) })),
});
export type RoadAnswer = z.infer<typeof roadSchema>;

/** Either a road to change to, or back. */
export const roadRequestSchema = z.object({
  to: specSchema.optional(),
  back: z.boolean().default(false),
  /** Nodes that are not waited for. */
  without: z.array(z.string()).default([]),
});

export const foreseenSchema = z.object({
  from: specSchema,
  to: specSchema,
  /** Why it cannot be done; empty when it can, as far as can be seen from here. */
  obstacles: z.array(z.object({ node: z.string(), peer: z.string().optional(), why: z.string() })),
  /** Steps of each node by phase, in the words of ip, bridge and nft: `+` made, `~` changed, `-` removed. */
  nodes: z.array(
    z.object({ name: z.string(), phases: z.array(z.object({ phase, steps: z.array(z.string()) })) }),
  ),
});
export type ForeseenAnswer = z.infer<typeof foreseenSchema>;

export const ROAD_API = {
  road: { method: 'GET', path: '/v1/road', answer: roadSchema },
  /** Begins the change, or turns it round; Fault `switch-refused` tells what stands against it. */
  changeRoad: { method: 'POST', path: '/v1/road', request: roadRequestSchema, answer: roadSchema },
  foreseeRoad: {
    method: 'POST',
    path: '/v1/road/foresee',
    request: roadRequestSchema,
    answer: foreseenSchema,
  },
} as const;
