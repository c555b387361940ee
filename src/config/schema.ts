/**
 * Every setting, once: its place, kind, default and meaning. Settings files are checked against it and docs/settings.md
 * is printed from it. What concerns several settings at once is in ./cross-checks.ts.
 */
import { z } from 'zod';
import { HAIRPIN_MODES } from '#model/settings.ts';
import type { Family } from '#net/address.ts';
import { addresses } from './address-schema.ts';
import { controller } from './controller-schema.ts';
import { flag, group } from './group.ts';
import { migration } from './migration-schema.ts';
import { kubernetes } from './kubernetes-schema.ts';
import { relay } from './relay-schema.ts';
import { road } from './road-schema.ts';
import { routing } from './routing-schema.ts';
import { store } from './store-schema.ts';
import {
  absolutePath,
  addressOfFamily,
  addressText,
  autoMtu,
  boundOfFamily,
  failsafePort,
  hostPort,
  linkName,
  mtuBytes,
  networkName,
  nodeName,
  prefixOfFamily,
  prefixText,
  regexText,
  setting,
  whole,
} from './values.ts';

export const API_VERSION = 'tartan.dev/v1';

function familyGroup(family: Family) {
  const [prefix, bound] = [`IPv${family} prefix`, `IPv${family} subnet, or its first address`];
  const usual = family === 4 ? 24 : 64;
  return z
    .strictObject({
      range: setting(prefixOfFamily(family), prefix, 'The cluster’s range, out of which nodes get subnets.'),
      subnetLength: setting(
        whole(1, 126).optional(),
        'bits',
        `Length of a node’s subnet; absent: ${usual} where four such subnets fit, else two more than the range.`,
      ),
      subnetMin: setting(
        boundOfFamily(family).optional(),
        bound,
        'First subnet handed out; absent: the second of the range.',
      ),
      subnetMax: setting(
        boundOfFamily(family).optional(),
        bound,
        'Last subnet handed out; absent: the last of the range.',
      ),
      nodeSubnet: setting(
        prefixOfFamily(family).optional(),
        prefix,
        'This node’s subnet, fixed instead of leased.',
      ),
    })
    .meta({ description: `IPv${family} addresses of pods; absent or null: the family is not in use.` })
    .nullish();
}

const network = group(
  {
    name: setting(networkName, 'name', 'Name of the CNI network.').default('tartan'),
    ipv4: familyGroup(4),
    ipv6: familyGroup(6),
    lease: group(
      {
        ttlSeconds: setting(
          whole(60, 31_536_000),
          'seconds',
          'How long a node’s claim on its subnet lives without renewal.',
        ).default(86_400),
        renewBeforeSeconds: setting(
          whole(1, 31_536_000),
          'seconds',
          'Renewal begins this long before the claim expires.',
        ).default(3600),
      },
      'The lease of a node’s subnet.',
    ),
  },
  'The pod network.',
);

const underlay = group(
  {
    interfaces: setting(
      z.array(z.string().min(1).max(45)),
      'list of link names or addresses',
      'Links that carry traffic between nodes, tried in order.',
    ).default([]),
    interfaceRegexes: setting(
      z.array(regexText),
      'list of regular expressions',
      'Matched against addresses, then names, when no entry of `interfaces` is there.',
    ).default([]),
    canReach: setting(
      addressText.optional(),
      'IP address',
      'Takes the link by which the kernel would reach this address.',
    ),
    publicAddress: group(
      {
        ipv4: setting(addressOfFamily(4).optional(), 'IPv4 address', 'For peers that reach us by IPv4.'),
        ipv6: setting(addressOfFamily(6).optional(), 'IPv6 address', 'For peers that reach us by IPv6.'),
      },
      'Announced to peers in place of the link’s own address; may be a NAT address.',
    ),
    mtu: setting(
      mtuBytes.optional(),
      'bytes, 576–65535',
      'In place of the link’s MTU: the largest outer packet.',
    ),
  },
  'The link between nodes. When nothing is set, the default route’s.',
);

const wiring = group(
  {
    type: setting(
      z.enum(['routed', 'bridge']),
      'routed, bridge',
      'Pods on routed links, or on a bridge.',
    ).default('routed'),
    bridge: group(
      {
        name: setting(linkName, 'link name', 'Name of the bridge.').default('tartan0'),
        hairpin: setting(
          z.enum(HAIRPIN_MODES),
          HAIRPIN_MODES.join(', '),
          'How a pod reaches itself through a service.',
        ).default('hairpin-veth'),
      },
      'When the wiring is a bridge.',
    ),
    mtu: setting(autoMtu, 'auto, or bytes 576–65535', 'MTU of pods; auto: what the road leaves.').prefault(
      'auto',
    ),
    dropSpoofed: flag(true, 'Packets whose source is not the pod’s own address are dropped.'),
  },
  'How pods are attached to their node.',
);

const masquerade = group(
  {
    enabled: flag(true, 'Traffic that leaves the cluster takes the node’s address.'),
    exclude: setting(
      z.array(prefixText),
      'list of prefixes',
      'Destinations that see the pod’s own address, besides the cluster’s ranges.',
    ).default([]),
    randomFully: flag(true, 'Ports are chosen at random, which avoids races between connections.'),
  },
  'Source NAT of what pods send.',
);

const failsafe = (description: string) =>
  setting(z.array(failsafePort).optional(), 'list of protocol:port, or protocol:prefix:port', description);

const policy = group(
  {
    enforce: flag(
      false,
      'Network policies are enforced, and a pod gets its network only when its own are. Pods of a bridge reach each other by way of the host then, without multicast.',
    ),
    audit: flag(false, 'What policies deny passes, and is logged as it would be denied.'),
    logDeniedPerSecond: setting(
      whole(0, 10_000),
      'packets per second',
      'So many denied first packets are told of at most in each direction (`tartan flows`); 0: none.',
    ).default(100),
    established: setting(
      z.enum(['cut', 'keep']),
      'cut, keep',
      'Connections that a change of policies denies end at once, or live on as Calico has it.',
    ).default('cut'),
    dns: group(
      {
        servers: setting(
          z.array(addressText),
          'list of IP addresses',
          'Servers whose answers are believed, as pods ask them; none: the Services of kube-system that are labelled `k8s-app: kube-dns`, and those of the node’s own resolv.conf.',
        ).default([]),
        minimumSeconds: setting(
          whole(0, 86_400),
          'seconds',
          'An address that a name has had stays allowed at least so long, else as its TTL says.',
        ).default(60),
      },
      'DNS names that policies allow.',
    ),
    failsafe: group(
      {
        inbound: failsafe('Ports of this host that stay open; absent: Calico’s.'),
        outbound: failsafe('Ports elsewhere that stay in reach of this host; absent: Calico’s.'),
      },
      'Ports that no policy of a host endpoint can close.',
    ),
  },
  'Network policy.',
);

const absolute = (value: string, description: string) =>
  setting(absolutePath, 'absolute path', description).default(value);

export const settingsSchema = z.strictObject({
  node: z
    .strictObject({
      name: setting(nodeName, 'name', 'Name of this node; the agent gives the host’s name.'),
      labels: setting(
        z.record(z.string(), z.string()).optional(),
        'labels',
        'Of this node, for selectors of nodes; a Node object in the store counts more.',
      ),
      annotations: setting(
        z.record(z.string(), z.string()).optional(),
        'annotations',
        'Of this node, as kube-router’s and Calico’s; a Node object in the store stands in their place.',
      ),
    })
    .meta({ description: 'This node.' }),
  network,
  addresses,
  underlay,
  road,
  wiring,
  masquerade,
  forward: group(
    {
      accept: flag(
        true,
        'Accept forwarded pod traffic, and the tunnel’s packets, also in other programs’ chains that would drop them.',
      ),
    },
    'Forwarding.',
  ),
  routing,
  policy,
  blackhole: flag(true, 'Packets to unused addresses of the node’s own subnet do not leave the node.'),
  brake: group(
    {
      share: setting(
        z.number().min(0).max(1),
        '0–1',
        'A pass that removes more than this share of the routes stops and waits for `tartan resume`.',
      ).default(0.5),
      minimum: setting(
        whole(0, 1_000_000),
        'routes',
        'Removals of fewer routes than this are never stopped.',
      ).default(10),
    },
    'Protection against a store that lies.',
  ),
  store,
  kubernetes,
  controller,
  relay,
  migration,
  paths: group(
    {
      run: absolute('/run/tartan', 'Sockets and state that end with a reboot.'),
      state: absolute('/var/lib/tartan', 'State that survives a reboot.'),
      cniBin: absolute('/opt/cni/bin', 'Where the CNI executables are installed.'),
      cniConf: absolute('/etc/cni/net.d', 'Where the network configuration is installed.'),
      etc: absolute(
        '/etc',
        'Where NetworkManager and systemd are told which links are ours, if they are there.',
      ),
    },
    'Places in the file system.',
  ),
  listen: setting(
    hostPort.optional(),
    'host:port',
    'Metrics and health by HTTP; absent: only on the socket.',
  ),
  log: group(
    {
      level: setting(
        z.enum(['debug', 'info', 'warn', 'error']),
        'debug, info, warn, error',
        'Least severe message that is written.',
      ).default('info'),
    },
    'The log.',
  ),
});

/** What the schema gives: shaped as the file is, values parsed, defaults filled in. */
export type RawSettings = z.output<typeof settingsSchema>;
