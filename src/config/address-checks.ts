/** What addresses need of other settings. */
import { FAMILIES } from '#net/address.ts';
import { prefixLength } from '#net/prefix.ts';
import type { Wrong } from './cross-checks.ts';
import type { RawSettings } from './schema.ts';

/** Where a node's subnets are others' to give. */
export function checkNodeCidr({ addresses, network }: RawSettings): Wrong[] {
  if (addresses.type !== 'node-cidr') return [];
  return FAMILIES.filter((family) => network[`ipv${family}`]?.nodeSubnet !== undefined).map((family) => ({
    path: ['network', `ipv${family}`, 'nodeSubnet'],
    message: 'must not be there where addresses.type is node-cidr: the Node object has it',
  }));
}

export function checkBlocks({ addresses, network, wiring }: RawSettings): Wrong[] {
  if (addresses.type !== 'blocks') return [];
  const errors: Wrong[] = [];
  if (wiring.type === 'bridge')
    errors.push({
      path: ['wiring', 'type'],
      message: 'must be routed where addresses.type is blocks: a bridge has one subnet',
    });
  for (const family of FAMILIES) {
    const { range, nodeSubnet } = network[`ipv${family}`] ?? {};
    const length = addresses.blocks[`ipv${family}Length`];
    if (nodeSubnet !== undefined)
      errors.push({
        path: ['network', `ipv${family}`, 'nodeSubnet'],
        message: 'must not be there where addresses.type is blocks',
      });
    if (range !== undefined && prefixLength(range) > length)
      errors.push({
        path: ['addresses', 'blocks', `ipv${family}Length`],
        message: `a /${length} does not fit in ${range}`,
      });
  }
  return errors;
}
