/** v1 Service and Endpoints, discovery.k8s.io/v1 EndpointSlice (kubernetes/api core/v1, discovery/v1 types.go). */
import { z } from 'zod';
import type { Backend, Labels } from '#model/workload.ts';
import { type Address, compareAddresses, FAMILIES, parseAddress } from '#net/address.ts';
import { PROTOCOLS, type ProtocolName } from '../frontends/ports.ts';
import { portName, portNumber, texts } from '#model/manifest-shapes.ts';
import { type CoreKind, defineCore, ipText, PROTOCOL_NAMES, readAddresses } from './core-kind.ts';
import type { ServicePort } from './things.ts';

const servicePort = z.object({
  port: portNumber,
  targetPort: z.union([portNumber, z.literal(0), z.literal(''), portName]).nullish(),
  protocol: PROTOCOL_NAMES,
});

const serviceSpec = z.object({
  type: z.string().nullish(),
  selector: texts,
  ports: z.array(servicePort).nullish(),
  ipFamilies: z.array(z.enum(['IPv4', 'IPv6'])).nullish(),
  publishNotReadyAddresses: z.boolean().nullish(),
  clusterIP: z.string().nullish(),
  clusterIPs: z.array(z.string()).nullish(),
});

/** Whose answers count as the cluster's own; only who may write there can say so of a service. */
const DNS = { namespace: 'kube-system', label: 'k8s-app', value: 'kube-dns' } as const;

const service = defineCore(
  { apiVersion: 'v1', kind: 'Service' },
  { spec: serviceSpec.nullish() },
  ({ name, namespace, place, labels, fields }) => {
    const { type, selector, ports, ipFamilies, publishNotReadyAddresses } = fields.spec ?? {};
    const isSelecting = type !== 'ExternalName' && Object.keys(selector ?? {}).length > 0;
    const families = FAMILIES.filter((family) => ipFamilies?.includes(`IPv${family}`) ?? true);
    return {
      kind: 'service',
      title: `Service ${place}`,
      value: {
        namespace,
        name,
        ...(isSelecting ? { selector: selector ?? {} } : {}),
        ports: (ports ?? []).map(({ port, targetPort, protocol }): ServicePort => ({
          protocol: PROTOCOLS[protocol ?? 'TCP'],
          target: targetPort || port,
        })),
        families,
        early: publishNotReadyAddresses ?? false,
        ...(isDns(namespace, labels) ? { dns: ownAddresses(fields.spec ?? {}) } : {}),
      },
    };
  },
);

function isDns(namespace: string, labels: Labels | undefined): boolean {
  return namespace === DNS.namespace && labels?.[DNS.label] === DNS.value;
}

/** None of a headless service, whose address is `None`. */
function ownAddresses({ clusterIP, clusterIPs }: z.output<typeof serviceSpec>): Address[] {
  return [...new Set([clusterIP, ...(clusterIPs ?? [])].flatMap((text) => parseAddress(text ?? '') ?? []))];
}

const backendPort = z.object({ port: portNumber.nullish(), protocol: PROTOCOL_NAMES });
type BackendPort = {
  readonly port?: number | null | undefined;
  readonly protocol?: ProtocolName | null | undefined;
};

const conditions = z.object({ ready: z.boolean().nullish(), serving: z.boolean().nullish() }).nullish();

const SERVICE_LABEL = 'kubernetes.io/service-name';

const sliceEndpoint = z.object({ addresses: z.array(z.string()).nullish(), conditions });
type SliceEndpoint = z.output<typeof sliceEndpoint>;

const endpointSlice = defineCore(
  { apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice' },
  {
    addressType: z.enum(['IPv4', 'IPv6', 'FQDN']),
    endpoints: z.array(sliceEndpoint).nullish(),
    ports: z.array(backendPort).nullish(),
  },
  ({ namespace, place, labels, fields: { addressType, endpoints, ports } }, { refuse }) => {
    const name = labels?.[SERVICE_LABEL];
    // Names say nothing about addresses.
    if (name === undefined || addressType === 'FQDN') return undefined;
    for (const { path, text } of wrongAddresses(endpoints ?? []))
      refuse(path, `must be an IP address, not ${JSON.stringify(text)}`);
    const serving = (endpoints ?? []).filter((each) => isServing(each.conditions ?? {}));
    const addresses = readAddresses(serving.flatMap((each) => each.addresses ?? []));
    return {
      kind: 'slice',
      title: `EndpointSlice ${place}`,
      value: { service: `${namespace}/${name}`, backends: backendsOf(addresses, ports ?? []) },
    };
  },
);

function wrongAddresses(endpoints: readonly SliceEndpoint[]) {
  return endpoints.flatMap(({ addresses }, index) =>
    (addresses ?? []).flatMap((text, at) =>
      parseAddress(text) === undefined ? [{ path: ['endpoints', index, 'addresses', at], text }] : [],
    ),
  );
}

/** Ready, or ending but still answering, which is who gets what nobody else can take. Unknown means yes. */
function isServing({
  ready,
  serving,
}: {
  ready?: boolean | null | undefined;
  serving?: boolean | null | undefined;
}): boolean {
  return (ready ?? true) || (serving ?? false);
}

const subset = z.object({
  addresses: z.array(z.object({ ip: ipText })).nullish(),
  ports: z.array(backendPort).nullish(),
});

const endpoints = defineCore(
  { apiVersion: 'v1', kind: 'Endpoints' },
  { subsets: z.array(subset).nullish() },
  ({ place, fields }) => ({
    kind: 'endpoints',
    title: `Endpoints ${place}`,
    value: {
      service: place,
      backends: sortBackends(
        (fields.subsets ?? []).flatMap(({ addresses, ports }) =>
          backendsOf(readAddresses((addresses ?? []).map(({ ip }) => ip)), ports ?? []),
        ),
      ),
    },
  }),
);

function backendsOf(addresses: readonly Address[], ports: readonly BackendPort[]): Backend[] {
  return sortBackends(
    addresses.flatMap((address) =>
      ports.flatMap(({ port, protocol }) =>
        typeof port === 'number' ? [{ address, protocol: PROTOCOLS[protocol ?? 'TCP'], port }] : [],
      ),
    ),
  );
}

/** In order, each once. */
export function sortBackends(backends: readonly Backend[]): Backend[] {
  const byText = new Map(
    backends.map((each) => [`${each.address} ${each.protocol} ${each.port}`, each] as const),
  );
  return [...byText.values()].sort(
    (a, b) => compareAddresses(a.address, b.address) || a.protocol - b.protocol || a.port - b.port,
  );
}

export const serviceKinds: readonly CoreKind[] = [service, endpointSlice, endpoints];
