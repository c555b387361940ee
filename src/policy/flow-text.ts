/**
 * Flows as people write them: `shop/web` to `shop/db:5432`. Places are `namespace/pod`, `pod` (of namespace default),
 * `node:NAME`, `host:NAME` (a host endpoint) or an IP address, IPv6 in brackets before a port; traffic is `PORT`,
 * `PORT/PROTOCOL`, a port's name, `icmp`, or nothing (`icmp`).
 */
import { PROTOCOL } from '#model/policy.ts';
import type { Flow } from '#model/verdict.ts';
import type { Pod, PolicyWorld } from '#model/workload.ts';
import { type Address, addressFamily, FAMILIES, type Family, parseAddress } from '#net/address.ts';
import { protocolName } from './reach/traffic-spans.ts';

export type End = {
  /** As it is shown: `shop/web`, `node:a`, an address. */
  readonly name: string;
  readonly addresses: readonly Address[];
  readonly pod?: Pod;
};

/** What is sent; `port` for protocols that have them; `icmp` alone stands for an echo request of either family. */
export type Traffic =
  | { readonly protocol: 'icmp' }
  | { readonly protocol: number; readonly port?: number }
  | { readonly name: string; readonly protocol?: number };

/** A sentence instead of what was asked for. */
export type Unclear = { readonly unclear: string };

const WITH_PORTS: ReadonlySet<string> = new Set(['tcp', 'udp', 'sctp', 'udplite']);

/** `shop/db:5432/tcp` → `shop/db`, `5432/tcp`. */
export function splitTarget(text: string): { readonly place: string; readonly traffic: string } {
  const bracketed = /^\[(.*)\](?::(.*))?$/.exec(text);
  if (bracketed !== null) return { place: bracketed[1] ?? '', traffic: bracketed[2] ?? 'icmp' };
  if (parseAddress(text) !== undefined || /^(?:node|host):[^:]*$/.test(text)) {
    return { place: text, traffic: 'icmp' };
  }
  const colon = text.lastIndexOf(':');
  if (colon < 0) return { place: text, traffic: 'icmp' };
  return { place: text.slice(0, colon), traffic: text.slice(colon + 1) };
}

export function findEnd(world: PolicyWorld, text: string): End | Unclear {
  const address = parseAddress(text);
  if (address !== undefined) return endAt(world, address);
  const kinded = /^(node|host):(.*)$/.exec(text);
  if (kinded !== null) return findHost(world, kinded[1] === 'node', kinded[2] ?? '');
  const [namespace, name] = text.includes('/') ? text.split('/', 2) : ['default', text];
  const pods = world.endpoints.filter((each): each is Pod => each.kind === 'pod');
  const pod = pods.find((each) => each.namespace === namespace && each.name === name);
  if (pod === undefined) {
    const near = pods.filter((each) => each.namespace === namespace || each.name === name);
    return { unclear: `there is no pod ${namespace}/${name}${listNames(near.map(podName))}` };
  }
  if (pod.addresses.length === 0) return { unclear: `pod ${podName(pod)} has no address` };
  return { name: podName(pod), addresses: pod.addresses, pod };
}

function podName({ namespace, name }: Pod): string {
  return `${namespace}/${name}`;
}

/** By the name of its owner, where it has one. */
function endAt(world: PolicyWorld, address: Address): End {
  const pod = world.endpoints.find(
    (each): each is Pod => each.kind === 'pod' && !each.hostNetwork && each.addresses.includes(address),
  );
  if (pod !== undefined) return { name: podName(pod), addresses: [address], pod };
  const node = [...world.nodes].find(([, { addresses }]) => addresses.includes(address));
  return { name: node === undefined ? address : `node:${node[0]}`, addresses: [address] };
}

function findHost(world: PolicyWorld, isNode: boolean, name: string): End | Unclear {
  const hosts = world.endpoints.filter((each) => each.kind === 'host');
  const addresses = isNode
    ? world.nodes.get(name)?.addresses
    : hosts.find((each) => each.name === name)?.addresses;
  const title = `${isNode ? 'node' : 'host'}:${name}`;
  if (addresses === undefined) {
    const known = isNode ? [...world.nodes.keys()] : hosts.map((each) => each.name);
    return { unclear: `there is no ${isNode ? 'node' : 'host endpoint'} ${name}${listNames(known)}` };
  }
  return addresses.length === 0 ? { unclear: `${title} has no address` } : { name: title, addresses };
}

function listNames(names: readonly string[]): string {
  if (names.length === 0) return '';
  return `; there is ${names.slice(0, 5).join(', ')}${names.length > 5 ? ', …' : ''}`;
}

export function parseTraffic(text: string): Traffic | Unclear {
  const [first = '', second, ...rest] = text.split('/');
  if (rest.length > 0 || first === '') return { unclear: `${JSON.stringify(text)} is no port` };
  if (text.toLowerCase() === 'icmp') return { protocol: 'icmp' };
  if (second === undefined) return parsePort(first, undefined);
  const protocol = WITH_PORTS.has(second.toLowerCase()) ? numberOf(second.toLowerCase()) : undefined;
  if (protocol === undefined) return { unclear: `${second} is none of ${[...WITH_PORTS].join(', ')}` };
  return parsePort(first, protocol);
}

function parsePort(text: string, protocol: number | undefined): Traffic | Unclear {
  if (!/^\d+$/.test(text)) return { name: text, ...(protocol === undefined ? {} : { protocol }) };
  const port = Number(text);
  if (port < 1 || port > 65_535) return { unclear: `${text} is not a port (1–65535)` };
  return { protocol: protocol ?? PROTOCOL.tcp, port };
}

function numberOf(name: string): number | undefined {
  return Object.hasOwn(PROTOCOL, name) ? PROTOCOL[name as keyof typeof PROTOCOL] : undefined;
}

/** A port from the range of temporary ones (RFC 6335): few rules ask about it. */
export const SOURCE_PORT = 49_152;

/** One for each family that both ends have. */
export function flowsBetween(from: End, to: End, traffic: Traffic): readonly Flow[] | Unclear {
  const kind = resolveName(to, traffic);
  if ('unclear' in kind) return kind;
  const flows = FAMILIES.flatMap((family): Flow[] => {
    const [source, destination] = [from, to].map(({ addresses }) =>
      addresses.find((address) => addressFamily(address) === family),
    );
    return source === undefined || destination === undefined
      ? []
      : [{ source, destination, ...packet(kind, family) }];
  });
  if (flows.length > 0) return flows;
  return { unclear: `${from.name} and ${to.name} have no family of addresses in common` };
}

type Numbered = Exclude<Traffic, { readonly name: string }>;

function resolveName(to: End, traffic: Traffic): Numbered | Unclear {
  if (!('name' in traffic)) return traffic;
  const ports = to.pod?.ports ?? [];
  const found = ports.find(
    ({ name, protocol }) => name === traffic.name && (traffic.protocol ?? protocol) === protocol,
  );
  if (found !== undefined) return { protocol: found.protocol, port: found.port };
  return { unclear: `${to.name} has no port ${traffic.name}${listNames(ports.map(({ name }) => name))}` };
}

function packet(
  kind: Numbered,
  family: Family,
): Pick<Flow, 'protocol' | 'icmp' | 'sourcePort' | 'destinationPort'> {
  if (kind.protocol === 'icmp') {
    return family === 4
      ? { protocol: PROTOCOL.icmp, icmp: { type: 8, code: 0 } }
      : { protocol: PROTOCOL.icmpv6, icmp: { type: 128, code: 0 } };
  }
  const { protocol, port } = kind;
  return port === undefined ? { protocol } : { protocol, sourcePort: SOURCE_PORT, destinationPort: port };
}

/** `tcp/5432`, `icmp` */
export function showFlow({ protocol, destinationPort, icmp }: Flow): string {
  if (icmp !== undefined) return 'icmp';
  const name = protocolName(protocol);
  return destinationPort === undefined ? name : `${name}/${destinationPort}`;
}
