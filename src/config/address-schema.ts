/** Settings of addresses: which are handed to pods, and how a node comes by them. */
import { z } from 'zod';
import { ADDRESS_TYPES } from '#model/settings.ts';
import { flag, group } from './group.ts';
import { prefixText, setting, whole } from './values.ts';

export const addresses = group(
  {
    type: setting(
      z.enum(ADDRESS_TYPES),
      ADDRESS_TYPES.join(', '),
      'A node leases one subnet; has the one that Kubernetes gives it (`spec.podCIDRs` of its Node object, wherever the store has that from); or takes blocks out of pools as its pods need them.',
    ).default('subnet'),
    exclude: setting(z.array(prefixText), 'list of prefixes', 'Never handed to pods.').default([]),
    quarantineSeconds: setting(
      whole(0, 86_400),
      'seconds',
      'A released address rests at least this long once its link is gone.',
    ).default(5),
    blocks: group(
      {
        ipv4Length: setting(whole(20, 30), 'bits', 'Length of IPv4 blocks; a pool may say another.').default(
          26,
        ),
        ipv6Length: setting(
          whole(116, 126),
          'bits',
          'Length of IPv6 blocks; a pool may say another.',
        ).default(122),
        strictAffinity: flag(false, 'Addresses of a block go to pods of its own node only: nobody borrows.'),
        maxPerNode: setting(
          whole(1, 100_000),
          'blocks',
          'A node has so many blocks of each family at most; when they are full it borrows.',
        ).default(20),
        reclaimSeconds: setting(
          whole(10, 86_400),
          'seconds',
          'What a node held that is gone from the store is free again after so long, and a block that its node does not need.',
        ).default(900),
      },
      'When the type is blocks.',
    ),
  },
  'Addresses of pods.',
);
