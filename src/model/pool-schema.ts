/**
 * A pool of addresses as an operator writes it: the `spec` of a Pool. Files are read by it (src/ipam/blocks/pool-objects.ts),
 * and Kubernetes is given it as a custom resource.
 */
import { z } from 'zod';
import { parsePrefix, type Prefix } from '#net/prefix.ts';
import { wholeNumber } from './manifest-shapes.ts';
import type { Selector } from './policy.ts';
import { isSelectorProblem, MAX_SELECTOR, parseSelector } from './selector-text.ts';

export const poolPrefix = z
  .string()
  .meta({ pattern: '^[0-9a-fA-F.:]+/[0-9]+$', maxLength: 49 })
  .transform((text, context): Prefix => {
    const found = parsePrefix(text);
    if (found !== undefined) return found;
    context.addIssue({
      code: 'custom',
      message: `must be a CIDR without host bits, not ${JSON.stringify(text)}`,
    });
    return z.NEVER;
  });

export const poolSelector = z
  .string()
  .meta({ maxLength: MAX_SELECTOR })
  .transform((text, context): Selector => {
    const found = parseSelector(text);
    if (!isSelectorProblem(found)) return found;
    context.addIssue({ code: 'custom', message: `column ${found.column}: ${found.message}` });
    return z.NEVER;
  });

/** Of blocks, in bits. */
export const poolBlockLength = wholeNumber(20, 126).nullish();

export const poolSchema = z.strictObject({
  prefix: poolPrefix.meta({ description: 'What blocks are cut from.' }),
  blockLength: poolBlockLength.meta({
    description: 'Of its blocks, in bits; absent: 26 of IPv4, 122 of IPv6.',
  }),
  enabled: z.boolean().nullish().meta({ description: 'No: nothing new is taken; what is in use stays.' }),
  automatic: z.boolean().nullish().meta({ description: 'No: only for pods that name it.' }),
  nodes: poolSelector.nullish().meta({ description: 'Selector of the nodes that may use it; absent: all.' }),
  namespaces: poolSelector
    .nullish()
    .meta({ description: 'Selector of the namespaces whose pods may use it; absent: all.' }),
  uses: z
    .array(z.enum(['pods', 'nodes']))
    .nullish()
    .meta({ description: 'What its addresses are for: pods, and nodes’ ends of tunnels; absent: both.' }),
  exported: z.boolean().nullish().meta({ description: 'Its blocks are told to BGP peers.' }),
  mode: z
    .enum(['Always', 'CrossSubnet', 'Never'])
    .nullish()
    .meta({ description: 'When packets to its addresses are encapsulated; absent: as the settings say.' }),
  reserved: z.array(poolPrefix).nullish().meta({ description: 'Never handed out.' }),
});
