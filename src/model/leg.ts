/** One road to one peer for one of its prefixes. */
import type { Address } from '#net/address.ts';
import type { Mac } from '#net/mac.ts';
import type { Prefix } from '#net/prefix.ts';

export type Leg = {
  readonly peer: string;
  readonly prefix: Prefix;
  /** `direct`: plain route over the underlay link. `bgp`: the route is the routing daemon's. */
  readonly carrier:
    | 'vxlan'
    | 'ipip'
    | 'gre'
    | 'fou'
    | 'layer2'
    | 'wireguard'
    | 'ipsec'
    | 'udp'
    | 'bgp'
    | 'direct';
  /** The peer's underlay address: next hop of `direct`, outer destination of a tunnel. */
  readonly remote: Address;
  /** The peer's VTEP MAC; vxlan only. */
  readonly mac?: Mac;
  /** The tunnel that the routing daemon's route leads into; absent: it is plain. */
  readonly link?: string;
  readonly metric: number;
  /** Largest packet that the road carries, in bytes. */
  readonly mtu: number;
  /** One sentence: why this road. */
  readonly why: string;
};

/** A peer that cannot be reached, and why; shown in status, never silently dropped. */
export type Unreachable = { readonly peer: string; readonly prefix?: Prefix; readonly why: string };
