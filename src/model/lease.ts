/**
 * Who acts for the cluster at this moment, as an object of the store: the spec of a coordination.k8s.io/v1 Lease, in every
 * store. Its times are for readers only; nobody compares them with a clock (docs/decisions/0017-controller.md).
 */
export type Lease = {
  /** Unlike every other process's, this one's earlier starts included. Empty: given up by its last holder. */
  readonly holderIdentity: string;
  /** So long after its last renewal nobody else may take it. */
  readonly leaseDurationSeconds: number;
  /** RFC 3339 with microseconds, as Kubernetes writes them. */
  readonly acquireTime: string;
  readonly renewTime: string;
  /** How often it went to another holder. */
  readonly leaseTransitions: number;
};

/** The controller's, among all leases. */
export const CONTROLLER_LEASE = 'tartan-controller';
