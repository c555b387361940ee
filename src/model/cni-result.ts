/** The result of CNI ADD in the shape of CNI 1.1.0 (CNI spec, "Success"); room cni knows how older versions write it. */
import type { Address } from '#net/address.ts';
import type { InterfaceAddress, Prefix } from '#net/prefix.ts';

export type CniInterface = {
  readonly name: string;
  readonly mac?: string | undefined;
  readonly mtu?: number | undefined;
  /** Path of the network namespace; absent or empty for a link of the host. */
  readonly sandbox?: string | undefined;
  readonly socketPath?: string | undefined;
  readonly pciID?: string | undefined;
};

export type CniIp = {
  readonly address: InterfaceAddress;
  readonly gateway?: Address | undefined;
  /** Index into `interfaces`; 0 is an index, absent is none. */
  readonly interface?: number | undefined;
};

export type CniRoute = {
  readonly dst: Prefix;
  readonly gw?: Address | undefined;
  readonly mtu?: number | undefined;
  readonly advmss?: number | undefined;
  readonly priority?: number | undefined;
  readonly table?: number | undefined;
  readonly scope?: number | undefined;
};

export type CniDns = {
  readonly nameservers?: readonly string[] | undefined;
  readonly domain?: string | undefined;
  readonly search?: readonly string[] | undefined;
  readonly options?: readonly string[] | undefined;
};

export type CniResult = {
  readonly interfaces: readonly CniInterface[];
  readonly ips: readonly CniIp[];
  readonly routes: readonly CniRoute[];
  readonly dns: CniDns;
};
