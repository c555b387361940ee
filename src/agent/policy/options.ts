/** What network policy on a node needs of the rest of the agent. */
import type { Ledger } from '../pods/attachments.ts';
import type { Kernel } from '#kernel/kernel.ts';
import type { Clock } from '#lib/clock.ts';
import type { Complaints } from '#lib/complaints.ts';
import type { Events, Logger } from '#lib/log.ts';
import type { NameStatus } from '#api/status.ts';
import type { Settings } from '#model/settings.ts';
import type { NodeWorkloads, PolicyWorld } from '#model/workload.ts';
import type { Address } from '#net/address.ts';
import type { Naming } from '#policy/dns/naming.ts';
import type { PolicyView } from '#policy/inputs/inputs.ts';
import type { Keep } from '#stores/last-good.ts';

/** `servers`: of the cluster. */
export type NamesAsked = {
  readonly naming: Naming;
  readonly world: PolicyWorld;
  readonly servers: readonly Address[];
};

export type NameFollower = {
  /** What is known of the names of these rules; from here on their answers are followed. Never throws. */
  follow(asked: NamesAsked): PolicyWorld['names'];
  /** Somebody else has changed the kernel's tables. */
  suspect(): void;
  status(): NameStatus | undefined;
};

export type PoliciesOptions = {
  readonly settings: Settings;
  readonly kernel: Kernel;
  readonly ledger: Ledger;
  readonly keep: Keep;
  readonly clock: Clock;
  readonly log: Logger;
  readonly events: Events;
  readonly complaints: Complaints;
  readonly signal: AbortSignal;
  /** Address of this host → the link that has it. */
  readonly linkOf: (address: Address) => string | undefined;
  /** The node that a block leads to with the address; undefined: there is no such block. */
  readonly routedTo: (address: Address) => string | undefined;
  /** Every source has told all it has. */
  readonly isSynced: () => boolean;
  /** This node's pods are others now. */
  readonly onOwnPods: (pods: NodeWorkloads) => void;
  /** Who learns the addresses of names; absent: nobody. */
  readonly names?: NameFollower;
  /** What is enforced is in the kernel. */
  readonly onLoaded: (view: PolicyView) => void;
  /** What else is in the kernel goes too. */
  readonly onLeave: () => void;
};
