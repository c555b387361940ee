/** What the host has apart from Tartan: the links, addresses and routes that traffic between nodes can use. */
import type { Address } from '#net/address.ts';
import type { Mac } from '#net/mac.ts';
import type { InterfaceAddress, Prefix } from '#net/prefix.ts';

export type UnderlayAddress = {
  readonly address: InterfaceAddress;
  readonly scope: 'global' | 'link' | 'host';
  /** From DHCP or router advertisement: it has a lifetime. */
  readonly dynamic: boolean;
  readonly temporary: boolean;
  readonly deprecated: boolean;
  /** Still under duplicate address detection, or failed it. */
  readonly tentative: boolean;
};

export type UnderlayLink = {
  readonly name: string;
  readonly index: number;
  /** IFLA_INFO_KIND (`veth`, `bridge`, …), absent for hardware. */
  readonly type?: string;
  readonly mtu: number;
  readonly mac?: Mac;
  readonly up: boolean;
  readonly loopback: boolean;
  readonly pointToPoint: boolean;
  /** Made by Tartan (alias or name prefix). */
  readonly ours: boolean;
  readonly addresses: readonly UnderlayAddress[];
};

/** A unicast route of the main table that is not ours. Without `via` the prefix is on the link. */
export type UnderlayRoute = {
  readonly prefix: Prefix;
  readonly link: string;
  readonly via?: Address;
  readonly metric: number;
};

export type Underlay = { readonly links: readonly UnderlayLink[]; readonly routes: readonly UnderlayRoute[] };

/** The link and addresses chosen for traffic between nodes. */
export type UnderlayChoice = {
  readonly link: string;
  readonly mtu: number;
  /** Addresses the host really has on the link: source of outer packets. */
  readonly local: { readonly 4?: Address; readonly 6?: Address };
  /** Addresses peers are told to send to (may be a NAT address). */
  readonly announced: { readonly 4?: Address; readonly 6?: Address };
  /** Prefixes reachable on the link without a router. */
  readonly connected: readonly Prefix[];
  /** One sentence: why this link. */
  readonly why: string;
};
