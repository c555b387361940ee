/** What another provider left on the node, while a cluster moves to this one. */
import { z } from 'zod';
import { group } from './group.ts';
import { absolutePath, setting } from './values.ts';
import { keyPath } from './store-schema.ts';

/** Where flanneld and the CNI plugins have them unless they were told others. */
export const FLANNEL_PLACES = { subnetFile: '/run/flannel/subnet.env', cniState: '/var/lib/cni' } as const;

const flannel = z
  .strictObject({
    prefix: setting(
      keyPath,
      'path of a key',
      'What flannel’s keys begin with, in the etcd of the store (flanneld’s --etcd-prefix).',
    ).default('/coreos.com/network'),
    subnetFile: setting(absolutePath, 'absolute path', 'flanneld’s --subnet-file.').default(
      FLANNEL_PLACES.subnetFile,
    ),
    cniState: setting(
      absolutePath,
      'absolute path',
      'Where CNI plugins keep what they gave: the directories networks and flannel below it.',
    ).default(FLANNEL_PLACES.cniState),
    cniNetwork: setting(
      z.string().regex(/^[a-zA-Z0-9][-a-zA-Z0-9_.]*$/),
      'name of a CNI network',
      'What flannel’s CNI configuration calls its network: pods are noted under it when a node is given back.',
    ).default('cbr0'),
  })
  .meta({
    description:
      'A cluster moves from flannel node by node: what flannel made here is taken over when the agent starts, and nodes of both reach each other (docs/guide/migrate.md). Absent or null: no.',
  })
  .nullish();

export const migration = group({ flannel }, 'Moving from another provider, while pods go on.');
