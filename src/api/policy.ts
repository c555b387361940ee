/**
 * What the agent answers about policy: all that its policies are made of, and what its kernel's rules say of a flow.
 * Both are facts; what follows from them (explain, diff, test) is made by those who ask.
 */
import { z } from 'zod';
import type { PolicySnapshot } from '#model/policy-snapshot.ts';
import type { Flow } from '#model/verdict.ts';
import { type Address, parseAddress } from '#net/address.ts';
import { parsePrefix, type Prefix } from '#net/prefix.ts';

const address = z.string().transform((text, context): Address => {
  const parsed = parseAddress(text);
  if (parsed === undefined) context.addIssue('is not an IP address');
  return parsed ?? (text as Address);
});
const prefix = z.string().transform((text, context): Prefix => {
  const parsed = parsePrefix(text);
  if (parsed === undefined) context.addIssue('is not a prefix');
  return parsed ?? (text as Prefix);
});
const protocol = z.int().min(0).max(255);
const port = z.int().min(0).max(65_535);
const direction = z.enum(['ingress', 'egress']);
const labels = z.record(z.string(), z.string());

const icmpNumber = z.int().min(0).max(255);

const flowSchema = z
  .object({
    protocol,
    source: address,
    destination: address,
    sourcePort: port.optional(),
    destinationPort: port.optional(),
    icmp: z.object({ type: icmpNumber, code: icmpNumber }).optional(),
    before: z.object({ destination: address, destinationPort: port.optional() }).optional(),
    crossings: z
      .array(
        z.object({
          node: z.string(),
          interface: z.string(),
          direction,
          forwarded: z.boolean(),
          toPod: z.boolean().optional(),
        }),
      )
      .optional(),
  })
  // Fields that are absent in JSON are absent here, never undefined.
  .transform((read) => read as Flow);

export const opinionRequestSchema = z.object({ flow: flowSchema });
export type OpinionRequest = { readonly flow: Flow };

const failsafe = z.array(
  z.object({ protocol, ports: z.object({ from: port, to: port }), prefix: prefix.optional() }),
);
const workload = z.object({
  namespace: z.string(),
  name: z.string(),
  addresses: z.array(address),
  labels,
});

const manifest = z.object({
  source: z.string(),
  value: z.unknown(),
  written: z.object({ text: z.string(), line: z.int() }).optional(),
});
const problem = z.object({ path: z.string(), message: z.string() });
const name = z.string();

const snapshotShape = z.object({
  node: name,
  manifests: z.array(z.object({ name, manifest: manifest.optional(), problems: z.array(problem) })),
  retained: z.array(z.object({ name, manifest })),
  workloads: z.array(z.object({ node: name, pods: z.array(workload) })),
  own: z.array(workload).optional(),
  nodes: z.array(z.object({ name, addresses: z.array(address) })),
  links: z.array(z.object({ address, link: z.string() })),
  names: z.array(z.object({ name, addresses: z.array(address) })).optional(),
  failsafe: z.object({ ingress: failsafe, egress: failsafe }).optional(),
  defaultNamespace: z.string().optional(),
});
export const snapshotSchema = snapshotShape.transform((read) => read as PolicySnapshot);

/** What the kernel says at one end of a flow; ends that nothing selects, or of other nodes, have none. */
export const opinionSchema = z.object({
  direction,
  action: z.enum(['allow', 'deny']),
  /** Of a host endpoint: where, and the part of its policy that decided. */
  at: z
    .object({ interface: z.string(), scope: z.enum(['local', 'forward', 'untracked', 'pre-dnat']) })
    .optional(),
  /** The entry of a map that decided; absent: there was none, which denies. */
  entry: z.string().optional(),
  /** The rule of the chain that the entry leads to. */
  rule: z.string().optional(),
  /** What the entry has counted: first packets of every flow that it decided, not only of this one's ends. */
  packets: z.number().optional(),
  bytes: z.number().optional(),
});

/** Made from a dump of the kernel's table, never from what was meant to be in it. */
export const opinionsSchema = z.object({
  node: z.string(),
  /** The table is there, and its fixed rules are ours, complete and in order. */
  intact: z.boolean(),
  /** The kernel holds what the agent means to have loaded. */
  loadedProgramAgrees: z.boolean(),
  /** The agent enforces policies (`policy.enforce`): otherwise there is no table. */
  enforces: z.boolean(),
  /** What is denied passes and is logged (`policy.audit`). */
  audit: z.boolean(),
  opinions: z.array(opinionSchema),
});
export type KernelOpinion = z.infer<typeof opinionSchema>;
export type KernelOpinions = z.infer<typeof opinionsSchema>;

export const POLICY_API = {
  /** All that policies and world are made of. */
  policySnapshot: { method: 'GET', path: '/v1/policy/snapshot', answer: snapshotSchema },
  /** What the rules that the kernel holds say of a flow. */
  policyOpinion: {
    method: 'POST',
    path: '/v1/policy/opinion',
    request: opinionRequestSchema,
    answer: opinionsSchema,
  },
} as const;
