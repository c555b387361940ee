/** This node's own pods as policies know them, from its attachments. */
import type { Attachment } from '#model/attachment.ts';
import type { Workload } from '#model/workload.ts';
import { prefixAddress } from '#net/prefix.ts';

/** What is attached without a pod's name stands here, under the id of its container. */
const NAMESPACE = 'default';

/**
 * One workload per pod, whatever number of interfaces it has; also of pods that are being made or removed: as long as
 * there may be a link, its address is the pod's. By name.
 */
export function workloadsOf(attachments: Iterable<Attachment>): Workload[] {
  const found = new Map<string, Workload>();
  for (const attachment of attachments) {
    const { namespace, name } = attachment.pod ?? { namespace: NAMESPACE, name: attachment.containerId };
    const known = found.get(`${namespace}/${name}`);
    const addresses = attachment.addresses.map(prefixAddress);
    found.set(`${namespace}/${name}`, {
      namespace,
      name,
      addresses: [...new Set([...(known?.addresses ?? []), ...addresses])],
      labels: { ...known?.labels, ...attachment.labels },
    });
  }
  return [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, workload]) => workload);
}
