/**
 * What Kubernetes' Node objects say of routing: kube-router's annotations (pkg/controllers/routing) and Calico's. Passwords in
 * annotations are refused: everybody who may read nodes could read them.
 */
import { parse } from 'yaml';
import { z } from 'zod';
import { given } from '#lib/given.ts';
import type { Problem } from '#model/fault.ts';
import type { Manifest, Path } from '#model/manifest.ts';
import { understand, type Say } from '#model/manifest-schema.ts';
import { portNumber, texts } from '#model/manifest-shapes.ts';
import type { Community, FilterRule, PeerRule, Reflector, RouteFilter } from '#model/routing.ts';
import { readAs, readClusterId, readCommunity } from '#model/routing-text.ts';
import type { Address, Family } from '#net/address.ts';
import { parsePrefix, prefixFamily, type Prefix } from '#net/prefix.ts';
import { nodeNamed } from './bgp-peer.ts';
import { type Frontend, NO_OBJECTS, type NodeFacts, type RoutingObjects } from './frontend.ts';
import { asNumber, ipAddress, refused } from './shapes.ts';

const PREFIX = 'kube-router.io/';
const CLUSTER_ID = 'projectcalico.org/RouteReflectorClusterID';
const AS_NUMBER = 'projectcalico.org/ASNumber';
const WITHOUT_SERVICES = 'node.kubernetes.io/exclude-from-external-load-balancers';

/** The cluster writes nodes, with much that is nobody's here. */
const schema = z.looseObject({
  apiVersion: z.literal('v1'),
  kind: z.literal('Node'),
  metadata: z.looseObject({
    name: z.string().min(1, 'must not be empty'),
    labels: texts,
    annotations: texts,
  }),
});

type Node = z.output<typeof schema>;

export const nodeFrontend: Frontend = {
  apiVersion: 'v1',
  kind: 'Node',
  parse: (manifest: Manifest) => {
    const { found, problems, warnings } = understand(manifest, { schema, translate }, (say) => say);
    return { ...NO_OBJECTS, ...found, problems: problems satisfies readonly Problem[], warnings };
  },
};

/** Annotations by name, each with a way to say what is wrong with it. */
type Reader = {
  readonly node: string;
  readonly text: (name: string) => string | undefined;
  readonly refuse: (name: string, message: string) => undefined;
};

function translate({ metadata }: Node, say: Say): Partial<RoutingObjects> {
  const annotations = new Map(Object.entries(metadata.annotations ?? {}));
  const pathOf = (name: string): Path => ['metadata', 'annotations', name];
  const reader: Reader = {
    node: metadata.name,
    text: (name) => annotations.get(name),
    refuse: (name, message) => {
      say.refuse(pathOf(name), message);
      return undefined;
    },
  };
  for (const name of annotations.keys()) {
    const message = UNENFORCED[name];
    if (message !== undefined) say.refuse(pathOf(name), message);
    else if (name.startsWith(PREFIX) && !KNOWN.has(name))
      say.warn(pathOf(name), 'says nothing of routing that is known');
  }
  const rejected = rejectedBy(reader);
  const filter = rejected.length === 0 ? [] : [rejectFilter(metadata.name, rejected)];
  const peers = [...peersOf(reader), ...listedPeers(reader)];
  return {
    nodes: [factsOf(metadata, reader)],
    peers: peers.map((peer) => ({ ...peer, filters: filter.map(({ name }) => name) })),
    filters: filter,
  };
}

const own = (name: string): string => PREFIX + name;

const NO_PASSWORD =
  'must not be there: whoever reads nodes could read the password; use a BGPPeer with a Secret';
const UNENFORCED: Readonly<Record<string, string>> = {
  [own('peer.passwords')]: NO_PASSWORD,
  [own('bgp-local-addresses')]:
    'is not enforced: BIRD listens on all addresses, or with bindToNode on those of the node',
};
const KNOWN: ReadonlySet<string> = new Set(
  [
    'node.asn',
    'node.bgp.communities',
    'node.bgp.customimportreject',
    'path-prepend.as',
    'path-prepend.repeat-n',
    'peers',
    'peer.ips',
    'peer.asns',
    'peer.ports',
    'peer.localips',
    'rr.server',
    'rr.client',
    'pod-cidr',
    'pod-cidrs',
  ].map(own),
);

function factsOf({ name, labels }: Node['metadata'], reader: Reader): NodeFacts {
  const prefixes = [
    ...readList(reader, own('pod-cidr'), parsePrefix, 'a CIDR'),
    ...readList(reader, own('pod-cidrs'), parsePrefix, 'CIDRs'),
  ];
  const communities = readList(reader, own('node.bgp.communities'), readNamedCommunity, 'communities aa:nn');
  return {
    name,
    labels: labels ?? {},
    withoutServices: labels?.[WITHOUT_SERVICES] === 'true',
    prepend: prependOf(reader),
    communities,
    ...given('as', asOf(reader)),
    ...given('reflector', reflectorOf(reader)),
    ...(prefixes.length === 0 ? {} : { prefixes: [...new Set(prefixes)] }),
  };
}

/** Every item of a list with commas; what is no item is refused. */
function readList<T>(
  { text, refuse }: Reader,
  name: string,
  read: (item: string) => T | undefined,
  what: string,
): T[] {
  const items =
    text(name)
      ?.split(',')
      .map((item) => item.trim()) ?? [];
  return items.flatMap((item): T[] => {
    const found = read(item);
    if (found !== undefined) return [found];
    refuse(name, `must be ${what}, not ${JSON.stringify(item)}`);
    return [];
  });
}

/** RFC 1997, "Well-known Communities". */
const WELL_KNOWN: Readonly<Record<string, Community>> = {
  'no-export': [0xffff, 0xff01],
  'no-advertise': [0xffff, 0xff02],
  'no-export-subconfed': [0xffff, 0xff03],
};

function readNamedCommunity(text: string): Community | undefined {
  return Object.hasOwn(WELL_KNOWN, text) ? WELL_KNOWN[text] : readCommunity(text);
}

function asOf(reader: Reader): number | undefined {
  for (const name of [own('node.asn'), AS_NUMBER]) {
    const text = reader.text(name);
    const found = text === undefined ? undefined : asNumber.safeParse(text);
    if (found?.success === true) return found.data;
    if (text !== undefined) reader.refuse(name, `must be an AS number, not ${JSON.stringify(text)}`);
  }
  return undefined;
}

function prependOf({ text, refuse }: Reader): number[] {
  const [as, times] = [text(own('path-prepend.as')), text(own('path-prepend.repeat-n'))];
  if (as === undefined && times === undefined) return [];
  const number = readAs(as ?? '');
  const count = /^\d{1,2}$/.test(times ?? '') ? Number(times) : 0;
  if (number === undefined || number === 0) refuse(own('path-prepend.as'), 'must be an AS number');
  if (count < 1 || count > 10) refuse(own('path-prepend.repeat-n'), 'must be a whole number from 1 to 10');
  return Array.from({ length: Math.min(count, 10) }, () => number ?? 0);
}

/** Calico's reflectors leave the mesh; kube-router's stay in it. */
function reflectorOf(reader: Reader): Reflector | undefined {
  const roles = [
    { name: own('rr.server'), role: 'server', meshed: true },
    { name: own('rr.client'), role: 'client', meshed: true },
    { name: CLUSTER_ID, role: 'server', meshed: false },
  ] as const;
  const there = roles.filter(({ name }) => (reader.text(name) ?? '') !== '');
  const [first, second] = there;
  if (first === undefined) return undefined;
  if (second !== undefined) return reader.refuse(second.name, `must not be there beside ${first.name}`);
  const clusterId = readClusterId(reader.text(first.name) ?? '');
  if (clusterId === undefined)
    return reader.refuse(first.name, 'must be an IPv4 address or its number, not 0');
  return { role: first.role, clusterId, meshed: first.meshed };
}

function rejectedBy(reader: Reader): Prefix[] {
  return readList(reader, own('node.bgp.customimportreject'), parsePrefix, 'CIDRs without host bits');
}

function rejectFilter(node: string, prefixes: readonly Prefix[]): RouteFilter {
  const rules = (family: Family): FilterRule[] =>
    prefixes
      .filter((prefix) => prefixFamily(prefix) === family)
      .map((within) => ({ prefix: { within, operator: 'in' }, action: 'reject', operations: [] }));
  const none = { 4: [], 6: [] };
  return { name: `${PREFIX}${node}`, rules: { import: { ...none, 4: rules(4), 6: rules(6) }, export: none } };
}

/** Peers are one hop away, as kube-router has it without `--peer-router-multihop-ttl`. */
function peerOf(node: string, peer: Peer): PeerRule {
  const { remoteip, remoteasn, localip, port } = peer;
  return {
    name: `${PREFIX}${node} ${remoteip}`,
    nodes: nodeNamed(node),
    remote: { kind: 'address', address: remoteip, as: remoteasn, ...given('port', port) },
    reverse: false,
    nextHop: 'auto',
    source: localip ?? 'node',
    ttlSecurity: false,
    hops: 1,
    filters: [],
  };
}

const peer = z.strictObject({
  remoteip: ipAddress,
  remoteasn: asNumber,
  localip: ipAddress.nullish(),
  port: portNumber.nullish(),
  password: refused(NO_PASSWORD),
  bfd: refused('is not enforced here'),
});
type Peer = z.output<typeof peer>;

function peersOf(reader: Reader): PeerRule[] {
  const name = own('peers');
  const text = reader.text(name);
  if (text === undefined) return [];
  const read = z.array(peer).safeParse(readYaml(text));
  if (read.success) return read.data.map((each) => peerOf(reader.node, each));
  // Never what was written: there may be a password in it.
  for (const { path, message } of read.error.issues)
    reader.refuse(name, `${path.join('.')} ${message}`.trim());
  return [];
}

function readYaml(text: string): unknown {
  try {
    return parse(text);
  } catch {
    return undefined;
  }
}

/** The older way: lists of the same length. */
function listedPeers(reader: Reader): PeerRule[] {
  const addresses = readList(reader, own('peer.ips'), readWith(ipAddress), 'IP addresses');
  const numbers = readList(reader, own('peer.asns'), readWith(asNumber), 'AS numbers');
  const ports = readList(reader, own('peer.ports'), (text) => readWith(portNumber)(Number(text)), 'ports');
  const locals = readList(reader, own('peer.localips'), readWith(ipAddress), 'IP addresses');
  const lists: readonly [string, readonly unknown[]][] = [
    [own('peer.asns'), numbers],
    [own('peer.ports'), ports],
    [own('peer.localips'), locals],
  ];
  for (const [name, list] of lists)
    if (list.length !== addresses.length && (list.length > 0 || name === own('peer.asns')))
      reader.refuse(name, `must have as many entries as ${own('peer.ips')}`);
  return addresses.flatMap((remoteip: Address, index) => {
    const [remoteasn, port, localip] = [numbers[index], ports[index], locals[index]];
    return remoteasn === undefined ? [] : [peerOf(reader.node, { remoteip, remoteasn, port, localip })];
  });
}

function readWith<T extends z.ZodType>(schema: T): (given: unknown) => z.output<T> | undefined {
  return (given) => schema.safeParse(given).data;
}
