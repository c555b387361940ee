/** What another provider of pod networks has made on a host, and how it is handed over. */
import type { Address } from '#net/address.ts';
import type { Mac } from '#net/mac.ts';
import type { InterfaceAddress, Prefix } from '#net/prefix.ts';
import type { Attachment, PodName } from './attachment.ts';

export type ProviderLink = {
  readonly name: string;
  readonly index: number;
  /** IFLA_INFO_KIND; absent for hardware and lo. */
  readonly type?: string;
  readonly mtu: number;
  readonly mac?: Mac;
  readonly ours: boolean;
  /** Index of a veth's other end, in that one's namespace. */
  readonly peer?: number;
  /** Number of that namespace, as this one's kernel counts them (rtnetlink's nsid). */
  readonly peerNetns?: number;
  readonly master?: string;
  readonly vxlan?: { readonly vni: number; readonly port: number };
  /** Global ones. */
  readonly addresses: readonly InterfaceAddress[];
};

export type ProviderRoute = {
  readonly prefix: Prefix;
  readonly metric: number;
  readonly link: string;
  /** rtm_protocol: 2 the kernel's own, 3 of programs that say nothing. */
  readonly protocol: number;
  readonly via: Address | undefined;
  readonly mtu: number | undefined;
};

/** A link that becomes ours (or nobody's) under a name. It stays up, and whatever is on it. */
export type HandOver = { readonly from: string; readonly to: string; readonly ours: boolean };

/** An address that an IPAM plugin of another provider gave. */
export type Reservation = {
  readonly address: Address;
  readonly containerId: string;
  readonly ifname: string;
  /** Absent: the plugin did not note it. */
  readonly pod?: PodName;
};

/** A network namespace of the host, besides the host's own. */
export type ProviderNamespace = {
  readonly path: string;
  readonly inode: number;
  /** As `peerNetns` of the host's links; absent: none of them leads there. */
  readonly id?: number;
  readonly links: readonly ProviderLink[];
  readonly routes: readonly ProviderRoute[];
};

/** A pod of another provider as ours: its link is renamed and its attachment is in the ledger. */
export type AdoptedPod = { readonly attachment: Attachment; readonly link: HandOver };
