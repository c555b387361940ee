/** The settings of the roads between nodes: what all share, and a group for each that has more to say. */
import { z } from 'zod';
import { FOU, LAYER2, UDP_TUNNEL, VXLAN, WIREGUARD, XFRM } from '#model/numbers.ts';
import { ROAD_NAMES, ROAD_TYPES, TUNNEL_CIPHERS } from '#model/settings.ts';
import { flag, group } from './group.ts';
import { absolutePath, setting, whole } from './values.ts';

const udpPort = (value: number, description: string) =>
  setting(whole(1, 65_535), '1–65535', description).default(value);
const outerHeader = {
  ttl: setting(whole(1, 255), '1–255', 'Time to live of the outer packets.').default(64),
  tos: setting(
    whole(0, 255).optional(),
    '0–255',
    'Type of service (traffic class) of the outer packets; absent: the inner packet’s.',
  ),
};

export const road = group(
  {
    type: setting(
      z.enum(ROAD_TYPES),
      ROAD_TYPES.join(', '),
      'How packets travel between nodes; `bgp` leaves the routes to BIRD, and `bgp-ipip` is `bgp` with `mode: Always`; `alloc` leaves it to others, `auto` takes for each two nodes the cheapest that both can.',
    ).default('vxlan'),
    mode: setting(
      z.enum(['Always', 'CrossSubnet', 'Never']).optional(),
      'Always, CrossSubnet, Never',
      'When packets are encapsulated: always, only to peers that are not on a connected prefix, or never, which is the road host-gw, or bgp. All nodes alike. Absent: what `road.vxlan.directRouting` says; with bgp never.',
    ),
    vxlan: group(
      {
        vni: setting(whole(1, 16_777_215), '1–16777215', 'VXLAN network identifier.').default(VXLAN.vni),
        port: setting(whole(1, 65_535), '1–65535', 'UDP port.').default(VXLAN.port),
        learning: flag(false, 'The device learns addresses from packets. Nothing here needs it.'),
        gbp: flag(false, 'Group-based policy extension.'),
        directRouting: flag(false, 'flannel’s way to say `road.mode: CrossSubnet`.'),
        txChecksumOffload: flag(true, 'Off: works around network cards that corrupt encapsulated packets.'),
      },
      'When the road is vxlan.',
    ),
    layer2: group(
      {
        vni: setting(whole(1, 16_777_215), '1–16777215', 'VXLAN network identifier.').default(LAYER2.vni),
        port: udpPort(LAYER2.port, 'UDP port.'),
      },
      'When the road is layer2: the bridges of all nodes are one Ethernet.',
    ),
    ipip: group(outerHeader, 'When the road is ipip or bgp-ipip.'),
    gre: group(outerHeader, 'When the road is gre.'),
    fou: group(
      { port: udpPort(FOU.port, 'UDP port, of all nodes alike.'), ...outerHeader },
      'When the road is fou: ipip within UDP.',
    ),
    wireguard: group(
      {
        port: setting(whole(1, 65_535), '1–65535', 'UDP port that this node listens on.').default(
          WIREGUARD.port,
        ),
        strict: flag(false, 'What is from or to pods of other nodes and not encrypted is dropped.'),
      },
      'When the road is wireguard. The node’s private key is `wireguard.key` below `paths.state`, made by the agent.',
    ),
    ipsec: group(
      {
        secretsFile: setting(
          absolutePath,
          'absolute path',
          'A file (0600) of secrets that all nodes share: lines of a name and 32 or more random bytes in base64, the newest first.',
        ).default('/etc/tartan/ipsec.secrets'),
        port: setting(
          whole(1, 65_535),
          '1–65535',
          'UDP port that this node listens on behind a NAT.',
        ).default(XFRM.port),
        udp: setting(
          z.enum(['auto', 'always']),
          'auto, always',
          'ESP travels in UDP: where either node is reached by an address that is not its own, or always.',
        ).default('auto'),
        strict: flag(true, 'What is from or to pods of other nodes and not encrypted is dropped.'),
      },
      'When the road is ipsec: ESP with AES-256-GCM by the kernel, keys derived from the secrets.',
    ),
    udp: group(
      {
        port: setting(whole(1, 65_535), '1–65535', 'UDP port that this node listens on.').default(
          UDP_TUNNEL.port,
        ),
        cipher: setting(
          z.enum(TUNNEL_CIPHERS),
          TUNNEL_CIPHERS.join(', '),
          'What packets are sealed with; all nodes alike.',
        ).default('plain'),
        passwordFile: setting(
          absolutePath.optional(),
          'absolute path',
          'A file (0600) of passwords that all nodes share, one a line, the newest first. Absent: a key per node.',
        ),
        strict: flag(
          false,
          'What is from or to pods of other nodes and not sealed is dropped. Needs a cipher.',
        ),
      },
      'When the road is udp, the userspace tunnel. Sealed without a password, the node’s private keys are in `tunnel.key` below `paths.state`, one a line, the newest first; the agent makes the first.',
    ),
    auto: group(
      {
        encrypt: flag(false, 'Only roads that encrypt.'),
        roads: setting(
          z.array(z.enum(ROAD_NAMES)).min(1).optional(),
          `list of ${ROAD_NAMES.join(', ')}`,
          'Only these, on all nodes alike; absent: every road that the kernel has.',
        ),
      },
      'When the road is auto. Of equal roads that which takes the fewest bytes is the cheapest.',
    ),
  },
  'The road between nodes.',
);
