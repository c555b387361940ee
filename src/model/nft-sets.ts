/**
 * The sets and maps of our nftables tables: name, table family and the types of key and data, in nft's words. The
 * structure (NftTableItem) declares them, elements (NftElementItem) fill them, and both sides take the types from here.
 */
export type NftType = 'ipv4_addr' | 'ipv6_addr' | 'ether_addr' | 'ifname' | 'inet_proto' | 'inet_service';

export type NftSetType = {
  readonly family: 'inet' | 'bridge';
  readonly key: readonly NftType[];
  readonly data?: readonly NftType[];
};

const hostPort4 = ['ipv4_addr', 'inet_service'] as const;
const hostPort6 = ['ipv6_addr', 'inet_service'] as const;

export const NFT_SETS = {
  /** Underlay addresses that encapsulated packets are accepted from. */
  peers4: { family: 'inet', key: ['ipv4_addr'] },
  peers6: { family: 'inet', key: ['ipv6_addr'] },
  /** hostPort on any address of the host: protocol . port → pod address . port. */
  hostports4: { family: 'inet', key: ['inet_proto', 'inet_service'], data: hostPort4 },
  hostports6: { family: 'inet', key: ['inet_proto', 'inet_service'], data: hostPort6 },
  /** hostPort on one address (hostIP): address . protocol . port → pod address . port. */
  hostipports4: { family: 'inet', key: ['ipv4_addr', 'inet_proto', 'inet_service'], data: hostPort4 },
  hostipports6: { family: 'inet', key: ['ipv6_addr', 'inet_proto', 'inet_service'], data: hostPort6 },
  /** Routed wiring: link . source address that the pod behind it may use. */
  podsources4: { family: 'inet', key: ['ifname', 'ipv4_addr'] },
  podsources6: { family: 'inet', key: ['ifname', 'ipv6_addr'] },
  /** Bridge wiring: port . MAC . source address that the pod behind it may use. */
  portsources4: { family: 'bridge', key: ['ifname', 'ether_addr', 'ipv4_addr'] },
  portsources6: { family: 'bridge', key: ['ifname', 'ether_addr', 'ipv6_addr'] },
} as const satisfies Record<string, NftSetType>;

export type NftSetName = keyof typeof NFT_SETS;

/** `set NAME { type … ; }` or `map NAME { type … : … ; }` for a table body. */
export function declareSet(name: NftSetName): string {
  const type: NftSetType = NFT_SETS[name];
  const key = type.key.join(' . ');
  return type.data === undefined
    ? `set ${name} { type ${key}; }`
    : `map ${name} { type ${key} : ${type.data.join(' . ')}; }`;
}
