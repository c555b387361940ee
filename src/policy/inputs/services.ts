/**
 * Backends of services: those of its EndpointSlices; if it has none, those of its Endpoints; without these too, the pods
 * that it selects, so that hosts without a controller need none.
 */
import type { Backend } from '#model/workload.ts';
import { type Address, addressFamily } from '#net/address.ts';
import { addTo, type Multimap, removeFrom } from '../compile/multimap.ts';
import type { PlacedPod } from './pods.ts';
import { sortBackends } from './service-kinds.ts';
import type { BackendsObject, ServiceObject, ServicePort } from './things.ts';

/** The pods of a namespace. */
export type PodsOf = (namespace: string) => Iterable<PlacedPod>;

export class Services {
  readonly #podsOf: PodsOf;
  readonly #tell: (service: string, backends: readonly Backend[] | undefined) => void;
  readonly #objects = new Map<string, ServiceObject>();
  readonly #slices = new Map<string, BackendsObject>();
  readonly #slicesOf: Multimap<string, BackendsObject> = new Map();
  readonly #endpoints = new Map<string, BackendsObject>();
  /** Services with a selector, by namespace. */
  readonly #selecting: Multimap<string, string> = new Map();
  readonly #dns = new Set<string>();
  readonly #dirty = new Set<string>();

  constructor(podsOf: PodsOf, tell: (service: string, backends: readonly Backend[] | undefined) => void) {
    this.#podsOf = podsOf;
    this.#tell = tell;
  }

  /** By `namespace/name`. */
  putService(name: string, object: ServiceObject | undefined): void {
    const before = this.#objects.get(name);
    if (before?.selector !== undefined) removeFrom(this.#selecting, before.namespace, name);
    if (object?.selector !== undefined) addTo(this.#selecting, object.namespace, name);
    if (object?.dns === undefined) this.#dns.delete(name);
    else this.#dns.add(name);
    if (object === undefined) this.#objects.delete(name);
    else this.#objects.set(name, object);
    this.#dirty.add(name);
  }

  putEndpoints(name: string, object: BackendsObject | undefined): void {
    if (object === undefined) this.#endpoints.delete(name);
    else this.#endpoints.set(name, object);
    this.#dirty.add(name);
  }

  putSlice(name: string, slice: BackendsObject | undefined): void {
    const before = this.#slices.get(name);
    if (before !== undefined) {
      removeFrom(this.#slicesOf, before.service, before);
      this.#dirty.add(before.service);
    }
    if (slice === undefined) this.#slices.delete(name);
    else {
      this.#slices.set(name, slice);
      addTo(this.#slicesOf, slice.service, slice);
      this.#dirty.add(slice.service);
    }
  }

  /** Of the cluster's DNS: what pods ask, be it by the service's address or a backend's. */
  dnsServers(): Address[] {
    const found = [...this.#dns].flatMap((name) => [
      ...(this.#objects.get(name)?.dns ?? []),
      ...(this.#backendsOf(name) ?? []).map(({ address }) => address),
    ]);
    return [...new Set(found)];
  }

  /** `namespaces`: where pods are others than before. */
  update(namespaces: ReadonlySet<string>): void {
    for (const namespace of namespaces)
      for (const name of this.#selecting.get(namespace) ?? []) this.#dirty.add(name);
    for (const name of this.#dirty) this.#tell(name, this.#backendsOf(name));
    this.#dirty.clear();
  }

  #backendsOf(name: string): readonly Backend[] | undefined {
    const slices = this.#slicesOf.get(name);
    if (slices !== undefined) return sortBackends([...slices].flatMap(({ backends }) => backends));
    const endpoints = this.#endpoints.get(name);
    if (endpoints !== undefined) return endpoints.backends;
    const service = this.#objects.get(name);
    if (service === undefined) return undefined;
    const pods = [...this.#podsOf(service.namespace)].filter((each) => isSelected(service, each));
    return sortBackends(pods.flatMap((each) => backendsOn(each, service)));
  }
}

function isSelected({ selector, early }: ServiceObject, { pod, ready }: PlacedPod): boolean {
  return (
    selector !== undefined &&
    (ready || early) &&
    Object.entries(selector).every(
      ([key, value]) => Object.hasOwn(pod.labels, key) && pod.labels[key] === value,
    )
  );
}

function backendsOn({ pod }: PlacedPod, { ports, families }: ServiceObject): Backend[] {
  return pod.addresses
    .filter((address) => families.includes(addressFamily(address)))
    .flatMap((address) =>
      ports.flatMap((each) =>
        targetsOf(pod, each).map((port) => ({ address, protocol: each.protocol, port })),
      ),
    );
}

/** A named target is the first of the pod's ports with that name and protocol. */
function targetsOf({ ports }: PlacedPod['pod'], { target, protocol }: ServicePort): number[] {
  if (typeof target === 'number') return [target];
  const named = ports.find((each) => each.name === target && each.protocol === protocol);
  return named === undefined ? [] : [named.port];
}
