/** What an agent does with its own Node object in Kubernetes, besides having the store there. */
import { z } from 'zod';
import { flag, group } from './group.ts';
import { setting, whole } from './values.ts';

/** A qualified name (RFC 1123 subdomain, slash, name), as taints have. */
const taintKey = z
  .string()
  .regex(
    /^([a-z0-9]([-a-z0-9.]*[a-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/,
    'must be the key of a taint, such as example.org/name',
  );

/** flannel pkg/subnet/kube/annotations.go newAnnotations. */
const annotationPrefix = z
  .string()
  .regex(
    /^([a-z0-9_-]+\.)+[a-z0-9_-]+(\/([a-z0-9_-]+)?)?$/,
    'must be a domain name, perhaps with a slash and one part after it',
  );

export const kubernetes = group(
  {
    startupTaint: setting(
      taintKey,
      'key of a taint',
      'Taken off the node when it is ready, whatever its value and effect. Who makes nodes puts it there, so that no pod comes before its network; Tartan never does.',
    ).default('tartan.dev/agent-not-ready'),
    garbageSeconds: setting(
      whole(0, 86_400),
      'seconds',
      'A pod whose network namespace has been gone for so long, and which Kubernetes does not have when asked then, loses its address though no DEL came; 0: never.',
    ).default(900),
    condition: flag(
      true,
      'The node’s condition NetworkUnavailable is False when the node is ready, and True once Tartan has left it.',
    ),
    events: flag(
      true,
      'Warnings and errors of the agent are Events of its Node, or of the pod that they are about.',
    ),
    flannel: group(
      {
        peers: flag(
          true,
          'Nodes where flannel still runs are peers, and are told of this node in flannel’s words: a cluster moves from flannel node by node.',
        ),
        prefix: setting(
          annotationPrefix,
          'prefix of annotations',
          'As the --kube-annotation-prefix that flannel has.',
        ).default('flannel.alpha.coreos.com'),
      },
      'Beside flannel, with the roads vxlan, host-gw, ipip and wireguard.',
    ),
  },
  'The Node object of this node, when the type of the store is kubernetes.',
);
