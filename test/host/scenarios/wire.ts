/**
 * Raw sockets at every place of a lab: pods, nodes, and the lab's router as whatever is outside. What each place would send
 * is told by its own routes, and so are the interfaces that a flow crosses.
 */
import { execFileSync } from 'node:child_process';
import type { Lab } from '../../../src/lab/lab.ts';
import { netnsName } from '../../../src/lab/topology.ts';
import type { Crossing, Flow } from '#model/verdict.ts';
import { address, type Address, addressFamily, type Family } from '#net/address.ts';
import { type Namespace, namespaceAt } from '../namespace.ts';
import { openNode, openStation, type Station } from '../policy-wire.ts';
import { OUTSIDE } from './cluster.ts';

export type Place = {
  readonly name: string;
  readonly kind: 'pod' | 'node' | 'outside';
  /** The node that it is, or is on. */
  readonly node?: string;
  readonly station: Station;
};

export type LabWire = {
  place(name: string): Place;
  places(): readonly Place[];
  addressOf(place: Place, family: Family): Address;
  /** What the place sends from, to the other: a node may have several. */
  sourceOf(place: Place, family: Family, to: Place): Address;
  /** The interfaces of nodes that the flow crosses. */
  wayOf(from: Place, to: Place, flow: Flow): Crossing[];
  addPod(name: string): void;
  removePod(name: string): void;
  close(): void;
};

type Route = { readonly dev: string; readonly prefsrc?: string };

export function openLabWire(lab: Lab): LabWire {
  const router = namespaceAt(netnsName(lab.name, 'router'));
  const outside = openStation(router, 'lan0');
  const places = new Map<string, Place>();
  const nodes = new Map<string, Namespace>();
  const routes = new Map<string, Route>();
  for (const { name, netns } of lab.nodes) {
    const namespace = namespaceAt(netns);
    nodes.set(name, namespace);
    places.set(name, { name, kind: 'node', node: name, station: openNode(namespace) });
  }
  for (const name of Object.keys(OUTSIDE)) places.set(name, { name, kind: 'outside', station: outside });

  const podOf = (name: string) => {
    const pod = lab.pods().find((each) => each.name === name);
    if (pod === undefined) throw new Error(`no pod ${name}`);
    return pod;
  };
  const addPod = (name: string): void => {
    const { netns, node, addresses } = podOf(name);
    places.set(name, { name, kind: 'pod', node, station: openStation(namespaceAt(netns)) });
    const gateways = lab.nodes.find((each) => each.name === node)?.addresses;
    for (const own of addresses) router.ip(`route replace ${own} via ${gateways?.[familyOf(own)] ?? ''}`);
    routes.clear();
  };
  const routeTo = (node: string, to: Address): Route => {
    const key = `${node} ${to}`;
    const [known = routes.get(key)] = routes.has(key)
      ? []
      : (nodes.get(node)?.list<Route>(`route get ${to}`) ?? []);
    if (known === undefined) throw new Error(`${node} has no route to ${to}`);
    routes.set(key, known);
    return known;
  };
  const own = (place: Place, family: Family): Address => {
    if (place.kind === 'outside') return address(OUTSIDE[place.name]?.[family] ?? '');
    if (place.kind === 'pod')
      return address(podOf(place.name).addresses.find((each) => familyOf(each) === family) ?? '');
    const node = lab.nodes.find(({ name }) => name === place.name);
    return address(node?.addresses[family] ?? '');
  };
  for (const { name } of lab.pods()) addPod(name);
  return {
    place: (name) => {
      const found = places.get(name);
      if (found === undefined) throw new Error(`no place ${name}`);
      return found;
    },
    places: () => [...places.values()],
    addressOf: own,
    sourceOf: (place, family, to) => {
      if (place.kind !== 'node') return own(place, family);
      return address(routeTo(place.name, own(to, family)).prefsrc ?? own(place, family));
    },
    wayOf: (from, to, flow) =>
      [...new Set([from.node, to.node])].flatMap((node) =>
        node === undefined ? [] : crossingsAt(node, [from, to], flow, (each) => routeTo(node, each).dev),
      ),
    addPod,
    removePod: (name) => {
      places.get(name)?.station.close();
      places.delete(name);
    },
    close: () => {
      for (const { station } of places.values()) if (station !== outside) station.close();
      outside.close();
    },
  };
}

/** In by where the answer would leave, out by where it leads; not where the node itself is the end. */
function crossingsAt(
  node: string,
  [from, to]: readonly [Place, Place],
  { source, destination }: Flow,
  linkTo: (address: Address) => string,
): Crossing[] {
  const isEnd = (place: Place): boolean => place.kind === 'node' && place.name === node;
  const forwarded = !isEnd(from) && !isEnd(to);
  const across = (direction: Crossing['direction'], place: Place, far: Address): Crossing[] => {
    if (isEnd(place)) return [];
    const crossing = { node, interface: linkTo(far), direction, forwarded };
    return [place.kind === 'pod' && place.node === node ? { ...crossing, toPod: true } : crossing];
  };
  return [...across('ingress', from, source), ...across('egress', to, destination)];
}

const familyOf = (text: string): Family => addressFamily(address(text));

/** So that no packet belongs to what was sent before. */
export function forgetConnections(lab: Lab): void {
  for (const { netns } of lab.nodes)
    execFileSync('ip', ['netns', 'exec', netns, 'conntrack', '-F'], { stdio: 'ignore' });
}
