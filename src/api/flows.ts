/** The stream of flows: one request, and lines of JSON until either side ends it. */
import { z } from 'zod';
import { type FlowLine, FLOW_VERDICTS } from '#model/flow-event.ts';

/** What the agent keeps of the past. */
export const KEPT_FLOWS = 4096;

export const flowQuerySchema = z.object({
  /** Goes on with what happens from now on. */
  follow: z.boolean().default(false),
  /** So many of what has happened, the newest. */
  last: z.int().min(0).max(KEPT_FLOWS).default(KEPT_FLOWS),
  filter: z
    .object({
      namespace: z.string().optional(),
      pod: z.string().optional(),
      policy: z.string().optional(),
      verdicts: z.array(z.enum(FLOW_VERDICTS)).optional(),
    })
    .default({}),
});
export type FlowQuery = z.output<typeof flowQuerySchema>;

const end = z.object({
  kind: z.enum(['pod', 'node', 'outside']),
  name: z.string().optional(),
  address: z.string(),
  port: z.number().optional(),
});

export const flowEventSchema = z.object({
  time: z.string(),
  count: z.number(),
  verdict: z.enum(FLOW_VERDICTS),
  direction: z.enum(['ingress', 'egress']).optional(),
  protocol: z.number(),
  source: end,
  destination: end,
  icmp: z.object({ type: z.number(), code: z.number() }).optional(),
  before: z.object({ address: z.string(), port: z.number().optional() }).optional(),
  input: z.string().optional(),
  output: z.string().optional(),
  tier: z.string().optional(),
  policy: z.string().optional(),
  rule: z.string().optional(),
  origin: z.string().optional(),
  at: z.string().optional(),
  isolatedBy: z.array(z.string()).optional(),
  staged: z.enum(['allow', 'deny']).optional(),
});

export const flowLineSchema = z
  .union([
    z.object({ event: flowEventSchema }),
    z.object({ lost: z.number(), at: z.enum(['agent', 'reader']) }),
    z.object({ problem: z.string() }),
  ])
  // Addresses are the agent's own, and what is absent in JSON is absent here.
  .transform((read) => read as FlowLine);

export const FLOWS = {
  method: 'POST',
  path: '/v1/flows',
  request: flowQuerySchema,
  line: flowLineSchema,
} as const;
