/** v1 Namespace, ServiceAccount, Node and Pod (kubernetes/api core/v1/types.go). */
import { z } from 'zod';
import type { NamedPort } from '#model/workload.ts';
import { PROTOCOLS } from '../frontends/ports.ts';
import { portName, portNumber } from '#model/manifest-shapes.ts';
import { type CoreKind, defineCore, ipText, PROTOCOL_NAMES, readAddresses } from './core-kind.ts';
import type { PodObject } from './things.ts';

/** The label that no namespace lacks. */
const NAME_LABEL = 'kubernetes.io/metadata.name';

const namespace = defineCore({ apiVersion: 'v1', kind: 'Namespace' }, {}, ({ name, labels }) => ({
  kind: 'namespace',
  title: `Namespace ${name}`,
  value: { name, labels: { ...labels, [NAME_LABEL]: name } },
}));

const serviceAccount = defineCore({ apiVersion: 'v1', kind: 'ServiceAccount' }, {}, ({ place, labels }) => ({
  kind: 'account',
  title: `ServiceAccount ${place}`,
  value: { name: place, labels: labels ?? {} },
}));

const nodeAddress = z.object({ type: z.string(), address: z.string() });

const node = defineCore(
  { apiVersion: 'v1', kind: 'Node' },
  { status: z.object({ addresses: z.array(nodeAddress).nullish() }).nullish() },
  ({ name, labels, fields }, { refuse }) => {
    const given = (fields.status?.addresses ?? []).map(({ type, address }, index) => ({
      type,
      address,
      index,
    }));
    // The others are names.
    const addressed = given.filter(({ type }) => type === 'InternalIP' || type === 'ExternalIP');
    for (const { address, index } of addressed)
      if (!ipText.safeParse(address).success)
        refuse(
          ['status', 'addresses', index, 'address'],
          `must be an IP address, not ${JSON.stringify(address)}`,
        );
    const addresses = readAddresses(addressed.map(({ address }) => address));
    return { kind: 'node', title: `Node ${name}`, value: { name, labels: labels ?? {}, addresses } };
  },
);

const containerPort = z.object({
  name: z.union([z.literal(''), portName]).nullish(),
  containerPort: portNumber,
  protocol: PROTOCOL_NAMES,
});
const container = z.object({ ports: z.array(containerPort).nullish() });
const initContainer = container.extend({ restartPolicy: z.string().nullish() });

const podSpec = z.object({
  nodeName: z.string().nullish(),
  hostNetwork: z.boolean().nullish(),
  serviceAccountName: z.string().nullish(),
  containers: z.array(container).nullish(),
  initContainers: z.array(initContainer).nullish(),
});
type PodSpec = z.output<typeof podSpec>;

const podStatus = z.object({
  phase: z.string().nullish(),
  podIP: ipText.nullish(),
  podIPs: z.array(z.object({ ip: ipText.nullish() })).nullish(),
  conditions: z.array(z.object({ type: z.string(), status: z.string() })).nullish(),
});
type PodStatus = z.output<typeof podStatus>;

const pod = defineCore(
  { apiVersion: 'v1', kind: 'Pod' },
  { spec: podSpec.nullish(), status: podStatus.nullish() },
  ({ name, namespace, place, labels, fields }) => {
    const spec: PodSpec = fields.spec ?? {};
    return {
      kind: 'pod',
      title: `Pod ${place}`,
      value: {
        namespace,
        name,
        ...(labels === undefined ? {} : { labels }),
        ...(spec.nodeName ? { node: spec.nodeName } : {}),
        account: spec.serviceAccountName || 'default',
        ports: namedPorts(spec),
        hostNetwork: spec.hostNetwork ?? false,
        ...readStatus(fields.status ?? {}),
      },
    };
  },
);

function readStatus({
  phase,
  podIP,
  podIPs,
  conditions,
}: PodStatus): Pick<PodObject, 'finished' | 'addresses' | 'ready'> {
  const finished = phase === 'Succeeded' || phase === 'Failed';
  const addresses = finished ? [] : readAddresses([podIP, ...(podIPs ?? []).map(({ ip }) => ip)]);
  const unready = (conditions ?? []).some(({ type, status }) => type === 'Ready' && status === 'False');
  return { finished, addresses, ready: !finished && !unready };
}

/** Of containers that run as long as the pod: sidecars are init containers that are restarted. */
function namedPorts({ containers, initContainers }: PodSpec): NamedPort[] {
  const sidecars = (initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === 'Always');
  return [...(containers ?? []), ...sidecars]
    .flatMap(({ ports }) => ports ?? [])
    .flatMap(({ name, containerPort, protocol }) =>
      name ? [{ name, protocol: PROTOCOLS[protocol ?? 'TCP'], port: containerPort }] : [],
    );
}

export const clusterKinds: readonly CoreKind[] = [namespace, serviceAccount, node, pod];
