/** The settings of routing protocols. Objects of the store may say otherwise (docs/guide/bgp.md). */
import { z } from 'zod';
import type { Selector } from '#model/policy.ts';
import { LARGEST_AS, readClusterId, readCommunity } from '#model/routing-text.ts';
import { isSelectorProblem, parseSelector } from '#model/selector-text.ts';
import { flag, group } from './group.ts';
import { absolutePath, addressOfFamily, addressText, parsed, prefixText, setting, whole } from './values.ts';

const asNumber = whole(1, LARGEST_AS);
const selector = z.string().transform((text, context): Selector => {
  const found = parseSelector(text);
  if (!isSelectorProblem(found)) return found;
  context.addIssue({ code: 'custom', message: `column ${found.column}: ${found.message}` });
  return z.NEVER;
});
const community = parsed(readCommunity, 'must be a community aa:nn or aa:nn:mm');
const clusterId = parsed(readClusterId, 'must be an IPv4 address or its number');
const linkPattern = z
  .string()
  .regex(/^[A-Za-z0-9_.*-]{1,15}$/, 'must be the name of a link, with or without *');
const seconds = whole(1, 65_535);
const restartSeconds = whole(0, 4095);

const bfdFields = {
  intervalMs: whole(10, 60_000).default(300),
  multiplier: whole(1, 255).default(3),
  graceful: z.boolean().default(false),
};

/** Fields of one peer, in docs/guide/bgp.md. */
const peer = z
  .strictObject({
    name: z.string().min(1, 'must not be empty'),
    nodes: selector.optional(),
    address: addressText.optional(),
    port: whole(1, 65_535).optional(),
    as: asNumber.optional(),
    peerNodes: selector.optional(),
    localAs: asNumber.optional(),
    nextHop: z.enum(['auto', 'self', 'keep']).default('auto'),
    passwordFile: absolutePath.optional(),
    source: z.union([z.enum(['node', 'any']), addressText]).default('node'),
    gracefulRestartSeconds: restartSeconds.optional(),
    keepaliveSeconds: whole(1, 21_845).optional(),
    holdSeconds: whole(3, 65_535).optional(),
    allowLocalAs: whole(0, 100).optional(),
    hops: whole(1, 255).optional(),
    ttlSecurity: z.boolean().default(false),
    gateway: addressText.optional(),
    bfd: z.strictObject(bfdFields).optional(),
    filters: z.array(z.string().min(1, 'must not be empty')).default([]),
    localPreference: whole(0, LARGEST_AS).optional(),
  })
  .superRefine(({ address, as, peerNodes, ttlSecurity, hops }, context) => {
    const say = (path: string, message: string): void =>
      context.addIssue({ code: 'custom', path: [path], message });
    if ((address === undefined) === (peerNodes === undefined))
      say('address', 'must be there, or peerNodes, and not both');
    if ((address === undefined) !== (as === undefined))
      say('as', address === undefined ? 'must only be there beside address' : 'is missing');
    if (ttlSecurity && hops === undefined) say('hops', 'must be there with ttlSecurity');
  });

const aggregate = z.strictObject({ prefix: prefixText, nodes: selector.optional() });
const tag = z.strictObject({
  prefix: prefixText,
  communities: z.array(community).min(1, 'must not be empty'),
});

const ospfLink = z.strictObject({
  name: linkPattern,
  cost: whole(1, 65_535).optional(),
  helloSeconds: seconds.optional(),
  deadSeconds: seconds.optional(),
  passive: z.boolean().optional(),
  passwordFile: absolutePath.optional(),
});

const ranges = (what: string) =>
  setting(
    z.array(prefixText),
    'list of prefixes',
    `Ranges of services’ ${what} that all nodes announce.`,
  ).default([]);

export const routing = group(
  {
    enabled: setting(
      z.boolean().optional(),
      'true or false',
      'BIRD runs beside the agent; absent: when the road is bgp. With another road it announces pods to peers outside.',
    ),
    as: setting(
      asNumber,
      '1–4294967295',
      'AS of nodes that have none of their own; all nodes alike.',
    ).default(64_512),
    nodeAs: setting(asNumber.optional(), '1–4294967295', 'AS of this node, when it is another.'),
    port: setting(whole(1, 65_535), '1–65535', 'TCP port of BGP on all nodes.').default(179),
    mesh: setting(
      z.enum(['all', 'same-as', 'none']),
      'all, same-as, none',
      'Which nodes speak BGP with each other by themselves.',
    ).default('all'),
    meshPasswordFile: setting(
      absolutePath.optional(),
      'absolute path',
      'File, readable by root alone, with the password of the mesh (TCP MD5).',
    ),
    meshBfd: group(
      {
        enabled: flag(false, 'Nodes of the mesh watch each other by BFD.'),
        intervalMs: setting(bfdFields.intervalMs, 'ms', 'Between two packets.'),
        multiplier: setting(bfdFields.multiplier, '1–255', 'So many may be missed.'),
        graceful: setting(
          bfdFields.graceful,
          'true or false',
          'A silent peer is waited for (graceful restart), instead of given up at once.',
        ),
      },
      'Bidirectional forwarding detection (RFC 5880) in the mesh.',
    ),
    gracefulRestartSeconds: setting(
      restartSeconds,
      'seconds',
      'How long peers keep this node’s routes while its BIRD is away; 0: not at all.',
    ).default(120),
    routerId: setting(
      z.enum(['address', 'hash']),
      'address, hash',
      'The node’s IPv4 address, where it has one, or a hash of its name.',
    ).default('address'),
    bindToNode: flag(false, 'BIRD listens on the node’s own addresses only.'),
    logLevel: setting(
      z.enum(['debug', 'info', 'warning', 'error', 'fatal']),
      'debug, info, warning, error, fatal',
      'What BIRD writes to `bird/bird.log` below `paths.run`.',
    ).default('warning'),
    ignoredInterfaces: setting(
      z.array(linkPattern),
      'list of link names, with or without *',
      'Links whose subnets are no way to a next hop.',
    ).default([]),
    reflector: group(
      {
        clusterId: setting(
          clusterId.optional(),
          'IPv4 address or number',
          'Makes this node part of a cluster (RFC 4456).',
        ),
        role: setting(z.enum(['server', 'client']), 'server, client', 'What it is there.').default('server'),
        meshed: flag(
          true,
          'Servers are in the mesh, and clients in no other than that with servers of their cluster. False: the server is in no mesh, and `peers` say who speaks with it.',
        ),
      },
      'This node as a route reflector, or as a client of one.',
    ),
    peers: setting(
      z.array(peer),
      'list of peers',
      'Sessions besides the mesh; the fields are in docs/guide/bgp.md.',
    ).default([]),
    aggregates: setting(
      z.array(aggregate),
      'list of {prefix, nodes}',
      'Told to peers outside in place of what lies in them, by the nodes that the selector matches.',
    ).default([]),
    communities: setting(
      z.array(tag),
      'list of {prefix, communities}',
      'What announcements within a prefix are marked with.',
    ).default([]),
    services: group(
      {
        cluster: ranges('cluster addresses'),
        external: ranges('external addresses'),
        loadBalancer: ranges('load balancer addresses'),
      },
      'Services’ addresses. Each node finds its own way to them; none is learned into the kernel.',
    ),
    ospf: z
      .strictObject({
        area: setting(addressOfFamily(4), 'IPv4 address', 'The area’s number.'),
        links: setting(
          z.array(ospfLink).min(1, 'must not be empty'),
          'list of links',
          'Where OSPF is spoken; the fields are in docs/guide/bgp.md.',
        ),
      })
      .meta({
        description:
          'OSPFv2 and OSPFv3 beside BGP or, with `mesh: none`, in its place; absent or null: none.',
      })
      .nullish(),
    secrets: setting(
      absolutePath,
      'absolute path',
      'Where the password of a BGPPeer’s Secret NAME and KEY is: the file NAME/KEY below it.',
    ).default('/etc/tartan/secrets'),
  },
  'Routing protocols, spoken by BIRD.',
);

export type RawRouting = z.output<typeof routing>;
export type RawPeer = z.output<typeof peer>;
