/** One interface of one container in one network: the unit of CNI ADD and DEL. */
import type { Address } from '#net/address.ts';
import type { Mac } from '#net/mac.ts';
import type { InterfaceAddress, Prefix } from '#net/prefix.ts';
import type { Labels } from './workload.ts';

export type AttachmentKey = {
  readonly network: string;
  readonly containerId: string;
  readonly ifname: string;
};

export function attachmentId(key: AttachmentKey): string {
  return `${key.network}/${key.containerId}/${key.ifname}`;
}

export type Protocol = 'tcp' | 'udp' | 'sctp';

/** A host port that leads to a pod port. An absent hostIp means every address of the host, of either family. */
export type PortMapping = {
  readonly hostPort: number;
  readonly containerPort: number;
  readonly protocol: Protocol;
  readonly hostIp?: Address;
};

/** As seen from the pod: ingress is what it receives. Rates in bit/s, bursts in bits (CNI conventions, bandwidth). */
export type Bandwidth = {
  readonly ingressRate?: number;
  readonly ingressBurst?: number;
  readonly egressRate?: number;
  readonly egressBurst?: number;
};

export type PodName = { readonly namespace: string; readonly name: string; readonly uid?: string };

export type PodRoute = {
  readonly prefix: Prefix;
  readonly via?: Address;
  readonly mtu?: number;
  readonly advmss?: number;
  readonly priority?: number;
  readonly table?: number;
};

export type AttachmentPhase = 'planned' | 'ready' | 'deleting';

/**
 * What the ledger keeps of an attachment. `planned` is written before the kernel is touched and `ready` after, so that
 * whatever a killed agent left is known by name; `deleting` stays until the link is gone from the kernel.
 */
export type Attachment = AttachmentKey & {
  readonly phase: AttachmentPhase;
  readonly netns: string;
  /** Inode of the namespace: the same path may later name another one. */
  readonly netnsInode: number;
  readonly bootId: string;
  /** Hash of the configuration that shaped the attachment. */
  readonly configHash: string;
  readonly wiring: 'routed' | 'bridge' | 'chained' | 'loopback';
  readonly hostLink: string;
  readonly mac: Mac;
  readonly mtu: number;
  /** With the prefix length the container sees. */
  readonly addresses: readonly InterfaceAddress[];
  readonly gateways: readonly Address[];
  readonly routes: readonly PodRoute[];
  readonly portMappings: readonly PortMapping[];
  readonly bandwidth?: Bandwidth;
  /** Another provider made it: what is in the pod does not carry our marks. */
  readonly adopted?: true;
  /** Of the bridge port; absent: what the node's settings say. */
  readonly hairpin?: boolean;
  readonly pod?: PodName;
  readonly aliases?: readonly string[];
  /** As the runtime gave them (CNI CONVENTIONS.md, args.cni.labels). */
  readonly labels?: Labels;
  /** Name of the IPAM plugin when addresses are not ours. */
  readonly delegatedIpam?: string;
  /** The answer given to ADD, in the shape of CNI 1.1.0. */
  readonly result?: unknown;
};
