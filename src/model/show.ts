/** Items in the words of ip, bridge, nft, sysctl, ethtool and tc: for people, golden files and `tartan status`. */
import type {
  Item,
  ItemKind,
  LinkItem,
  NftTableItem,
  RouteItem,
  XfrmPolicyItem,
  XfrmStateItem,
} from './host.ts';
import { MAIN_TABLE, NFT_TABLE, XFRM } from './numbers.ts';
import { NFT_SETS } from './nft-sets.ts';

type Show = { readonly [K in ItemKind]: (item: Extract<Item, { kind: K }>) => string };

/** The item as the command that would make it; a table takes several lines, everything else one. */
export function showItem<K extends ItemKind>(item: Extract<Item, { kind: K }>): string {
  return SHOW[item.kind](item);
}

/** One item after another, in the order given. */
export function showItems(items: Iterable<Item>): string {
  return [...items].map((item) => `${showItem(item)}\n`).join('');
}

const SHOW: Show = {
  link: showLink,
  address: ({ link, address, nodad }) =>
    words('ip address add', address, 'dev', link, nodad === true && 'nodad'),
  route: showRoute,
  rule: ({ from, iif, table, priority }) =>
    words('ip rule add from', from, option('iif', iif), `table ${table} priority ${priority}`),
  neighbor: ({ link, address, mac }) => `ip neighbor add ${address} lladdr ${mac} dev ${link} nud permanent`,
  proxy: ({ link, address }) => `ip neighbor add proxy ${address} dev ${link}`,
  fdb: ({ link, mac, remote }) => `bridge fdb add ${mac} dev ${link} dst ${remote} self permanent`,
  station: ({ link, mac }) => `bridge fdb add ${mac} dev ${link} master static sticky`,
  'fou-port': ({ local, port }) =>
    words('ip', local.includes(':') && '-6', `fou add port ${port} gue local ${local}`),
  'wireguard-peer': ({ link, publicKey, endpoint, port, allowed }) =>
    `wg set ${link} peer ${publicKey} endpoint ${endpointOf(endpoint, port)} persistent-keepalive 25 allowed-ips ${allowed.join(',')}`,
  // There is no command for it.
  'esp-port': ({ local, port }) => `ESP in UDP to ${local} port ${port}`,
  'xfrm-state': showState,
  'xfrm-policy': showPolicy,
  tunnel: ({ link, port, cipher }) => `tunnel on ${link} port ${port} ${cipher}`,
  'tunnel-peer': ({ link, peer, endpoint, port, publicKeys, allowed }) =>
    words(
      `tunnel on ${link} peer ${peer} endpoint ${endpointOf(endpoint, port)}`,
      option('keys', publicKeys.join(',') || undefined),
      `allowed-ips ${allowed.join(',')}`,
    ),
  sysctl: ({ key, value }) => `sysctl -w ${key}=${value}`,
  'nft-table': showTable,
  'nft-element': ({ set, key, data }) => {
    const element = data === undefined ? key.join(' . ') : `${key.join(' . ')} : ${data.join(' . ')}`;
    return `nft add element ${NFT_SETS[set].family} ${NFT_TABLE} ${set} { ${element} }`;
  },
  shaper: ({ link, rate, burst }) => `tc qdisc add dev ${link} root tbf rate ${rate}bit burst ${burst}b`,
  redirect: ({ link, to }) =>
    `tc filter add dev ${link} ingress matchall action mirred egress redirect dev ${to}`,
  'foreign-rule': ({ family, table, chain, rule, comment }) =>
    `nft insert rule ${family} ${table} ${chain} ${rule} comment "${comment}"`,
};

function words(...parts: readonly (string | number | false | undefined)[]): string {
  return parts.filter((part) => part !== undefined && part !== false && part !== '').join(' ');
}
function endpointOf(address: string, port: number): string {
  return `${address.includes(':') ? `[${address}]` : address}:${port}`;
}
/** `name value`, or nothing when there is no value. */
function option(name: string, value: string | number | undefined): string | undefined {
  return value === undefined ? undefined : `${name} ${value}`;
}
function onOff(name: string, value: boolean | undefined): string | undefined {
  return value === undefined ? undefined : `${name} ${value ? 'on' : 'off'}`;
}

function showLink(item: LinkItem): string {
  if (item.type === 'tun')
    return `ip tuntap add ${item.name} mode tun vnet_hdr && ${words('ip link set', item.name, 'up', option('mtu', item.mtu))}`;
  const made = item.type === 'foreign' || item.type === 'veth' ? 'ip link set' : 'ip link add';
  const head = words(
    made,
    item.name,
    'up',
    option('mtu', item.mtu),
    option('address', item.mac),
    option('master', item.master),
    onOff('promisc', item.promiscuous),
    made === 'ip link add' && `type ${item.type}`,
    tunnelWords(item),
  );
  const port = words(
    onOff('hairpin', item.hairpin),
    onOff('isolated', item.isolated),
    onOff('learning', item.notesSources),
    onOff('neigh_suppress', item.answersNeighbors),
  );
  return [
    head,
    ...(item.type === 'wireguard' ? [`wg set ${item.name} listen-port ${item.port}`] : []),
    ...(port === '' ? [] : [`bridge link set dev ${item.name} ${port}`]),
    ...(item.txChecksumOffload === undefined
      ? []
      : [`ethtool -K ${item.name} ${onOff('tx-checksum-ip-generic', item.txChecksumOffload)}`]),
  ].join(' && ');
}

/** What stands behind `type`; ip6tnl and ip6gre say otherwise what IPv4's do. */
function tunnelWords(item: LinkItem): string | false {
  if (item.type === 'vxlan') {
    return words(
      `id ${item.vni} dstport ${item.port} local ${item.local} dev ${item.parent}`,
      item.learning ? 'learning' : 'nolearning',
      item.gbp && 'gbp',
    );
  }
  if (item.type === 'xfrm') return `if_id ${item.ifId}`;
  if (!('remote' in item)) return false;
  const { type, local, remote, ttl, tos } = item;
  const six = type === 'ip6tnl' || type === 'ip6gre';
  return words(
    type === 'ip6tnl' && 'mode any',
    `local ${local} remote ${remote}`,
    option('dev', item.parent),
    six ? `encaplimit none hoplimit ${ttl} tclass ${tos}` : `ttl ${ttl} tos ${tos} pmtudisc`,
    item.guePort !== undefined && `encap gue encap-sport auto encap-dport ${item.guePort}`,
  );
}

/** The name of the key stands where `ip` has the key. */
function showState(item: XfrmStateItem): string {
  const { source, destination, spi, mode, ifId, sourcePort, destinationPort, replayWindow, key } = item;
  return words(
    `ip xfrm state add src ${source} dst ${destination} proto esp spi 0x${spi.toString(16)}`,
    `reqid ${XFRM.requestId} mode ${mode} replay-window ${replayWindow}`,
    mode === 'tunnel' ? 'flag af-unspec esn' : 'flag esn',
    `aead rfc4106(gcm(aes)) <${key}> 128`,
    sourcePort !== undefined && `encap espinudp ${sourcePort} ${destinationPort} 0.0.0.0`,
    option('if_id', ifId),
  );
}

function showPolicy(item: XfrmPolicyItem): string {
  const { direction, source, destination, protocol, port, ifId, action, from, to, mode, spi } = item;
  return words(
    `ip xfrm policy add src ${source} dst ${destination}`,
    option('proto', protocol),
    option('dport', port),
    `dir ${direction} priority ${XFRM.priority[action]}`,
    option('if_id', ifId),
    action === 'block'
      ? 'action block'
      : words(
          `tmpl src ${from} dst ${to} proto esp`,
          spi !== undefined && `spi 0x${spi.toString(16)}`,
          `reqid ${XFRM.requestId} mode ${mode}`,
        ),
  );
}

function showRoute(item: RouteItem): string {
  return words(
    'ip route add',
    item.type === 'blackhole' && 'blackhole',
    item.prefix,
    option('via', item.via),
    option('dev', item.link),
    item.onlink === true && 'onlink',
    option('src', item.source),
    item.table !== MAIN_TABLE && `table ${item.table}`,
    option('metric', item.metric),
    option('mtu', item.mtu),
    option('advmss', item.advmss),
  );
}

function showTable({ family, body }: NftTableItem): string {
  const lines = body.split('\n').map((line) => (line === '' ? '' : `  ${line}`));
  return `table ${family} ${NFT_TABLE} {\n${lines.join('\n')}\n}`;
}
