/**
 * Addresses of services, from Kubernetes' Service and EndpointSlice objects (kubernetes/api core/v1, discovery/v1) and
 * kube-router's annotations of services (docs/bgp.md, pkg/controllers/routing/ecmp_vip.go). Only what
 * announcing needs is looked at; the rest of these objects is somebody else's business, and what cannot be read is passed over.
 */
import { z } from 'zod';
import { given } from '#lib/given.ts';
import type { Manifest } from '#model/manifest.ts';
import type { ServiceAddress, ServiceKind } from '#model/routing.ts';
import { parseAddress } from '#net/address.ts';

const metadata = z.object({
  name: z.string(),
  namespace: z.string().nullish(),
  labels: z.record(z.string(), z.string()).nullish(),
  annotations: z.record(z.string(), z.string()).nullish(),
});
const texts = z.array(z.string()).nullish();

const service = z.object({
  apiVersion: z.literal('v1'),
  kind: z.literal('Service'),
  metadata,
  spec: z
    .object({
      clusterIP: z.string().nullish(),
      clusterIPs: texts,
      externalIPs: texts,
      externalTrafficPolicy: z.string().nullish(),
    })
    .nullish(),
  status: z
    .object({
      loadBalancer: z
        .object({ ingress: z.array(z.object({ ip: z.string().nullish() })).nullish() })
        .nullish(),
    })
    .nullish(),
});

const slice = z.object({
  apiVersion: z.literal('discovery.k8s.io/v1'),
  kind: z.literal('EndpointSlice'),
  metadata,
  endpoints: z
    .array(
      z.object({
        nodeName: z.string().nullish(),
        conditions: z.object({ ready: z.boolean().nullish() }).nullish(),
      }),
    )
    .nullish(),
});

type Service = z.output<typeof service>;
type Slice = z.output<typeof slice>;
/** Undefined: the object says nothing of services. */
export type ServiceObject = Service | Slice | undefined;

export function readServiceObject({ value }: Manifest): ServiceObject {
  return service.safeParse(value).data ?? slice.safeParse(value).data;
}

const SERVICE_NAME = 'kubernetes.io/service-name';

/** Of all services, each with the nodes that have an endpoint which is ready. */
export function serviceAddresses(objects: Iterable<Exclude<ServiceObject, undefined>>): ServiceAddress[] {
  const services: Service[] = [];
  const ready = new Map<string, Set<string>>();
  for (const object of objects) {
    if (object.kind === 'Service') services.push(object);
    else noteReady(object, ready);
  }
  return services.flatMap((one) =>
    addressesOf(one, [...(ready.get(placeOf(one.metadata.name, one)) ?? [])].sort()),
  );
}

function placeOf(name: string, { metadata: { namespace } }: Service | Slice): string {
  return `${namespace ?? 'default'}/${name}`;
}

function noteReady(object: Slice, ready: Map<string, Set<string>>): void {
  const place = placeOf(object.metadata.labels?.[SERVICE_NAME] ?? '', object);
  const nodes = ready.get(place) ?? new Set();
  for (const { nodeName, conditions } of object.endpoints ?? [])
    if (nodeName && conditions?.ready !== false) nodes.add(nodeName);
  ready.set(place, nodes);
}

const PREFIX = 'kube-router.io/service.';
const ADVERTISE: Readonly<Record<ServiceKind, string>> = {
  cluster: `${PREFIX}advertise.clusterip`,
  external: `${PREFIX}advertise.externalip`,
  'load-balancer': `${PREFIX}advertise.loadbalancerip`,
};

function addressesOf({ metadata, spec, status }: Service, ready: readonly string[]): ServiceAddress[] {
  const annotations = metadata.annotations ?? {};
  const says = (name: string): boolean => Object.hasOwn(annotations, `${PREFIX}${name}`);
  const local = spec?.externalTrafficPolicy === 'Local' || says('local');
  const addresses = (kind: ServiceKind, texts: Texts): ServiceAddress[] => {
    const alone = BOOLEANS[annotations[ADVERTISE[kind]] ?? ''];
    // A headless service has the word None.
    const found = [...new Set(texts)].flatMap((text) => parseAddress(text ?? '') ?? []);
    return found.map((address) => ({ address, kind, local, ready, ...given('alone', alone) }));
  };
  return [
    ...addresses('cluster', [...(spec?.clusterIPs ?? []), spec?.clusterIP]),
    ...addresses('external', spec?.externalIPs ?? []),
    ...addresses('load-balancer', says('skiplbips') ? [] : balancersOf(status)),
  ];
}

type Texts = readonly (string | null | undefined)[];

function balancersOf(status: Service['status']): Texts {
  return (status?.loadBalancer?.ingress ?? []).map(({ ip }) => ip);
}

/** What Go's strconv.ParseBool takes; anything else says nothing. */
const BOOLEANS: Readonly<Record<string, boolean>> = Object.fromEntries([
  ...['1', 't', 'T', 'TRUE', 'true', 'True'].map((text) => [text, true]),
  ...['0', 'f', 'F', 'FALSE', 'false', 'False'].map((text) => [text, false]),
]);
