/**
 * Every error that Tartan gives to anybody outside, in one table: a stable code, the CNI error number where the CNI
 * can carry it (CNI spec 1.1.0, section "Error": 1–99 reserved, 100+ ours), and what the reader can do about it.
 * docs/errors.md is made from this table.
 */
export const FAULTS = {
  'cni-version': { cni: 1, hint: 'use one of the supported versions in cniVersion' },
  'cni-field': { cni: 2, hint: 'remove or correct the field' },
  'unknown-container': { cni: 3, hint: 'the container is gone; nothing has to be cleaned up' },
  'cni-environment': { cni: 4, hint: 'set the CNI_* variables as the specification asks' },
  io: { cni: 5, hint: 'see the agent log for the failing file or socket' },
  'cni-decode': { cni: 6, hint: 'standard input must be one JSON object' },
  'cni-config': { cni: 7, hint: 'correct the network configuration' },
  'agent-away': { cni: 11, hint: 'start the agent: systemctl status tartan' },
  'not-ready': { cni: 11, hint: 'tartan status says what the node waits for' },
  'pod-unknown': {
    cni: 11,
    hint: 'the runtime tries again, and the pod is added once the API server tells of it',
  },
  'addresses-exhausted': {
    cni: 11,
    hint: 'tartan status shows pool use; enlarge the range, or run GC for leaked addresses',
  },
  'node-unavailable': { cni: 50, hint: 'tartan status says what is missing' },
  'attachment-exists': { cni: 101, hint: 'send DEL for the attachment first' },
  'attachment-broken': { cni: 102, hint: 'send DEL and ADD again' },
  'hostport-taken': { cni: 103, hint: 'free the host port or choose another' },
  'address-taken': { cni: 104, hint: 'request another address' },
  delegate: { cni: 105, hint: 'see the delegated plugin’s message' },
  kernel: { cni: 106, hint: 'tartan doctor checks what the kernel offers' },
  internal: { cni: 999, hint: 'this is a defect in Tartan: please report it with tartan support' },
  'settings-invalid': { cni: 7, hint: 'docs/settings.md lists every setting' },
  'store-conflict': { hint: 'somebody else changed the object; it is read again and retried' },
  'store-malformed': { hint: 'correct the file; until then it is ignored and the rest goes on' },
  'store-away': {
    hint: 'pods keep what they have; see that the members of etcd, or the API server, run and can be reached',
  },
  'store-refused': {
    hint: 'etcd: check store.etcd.user, its password and certificates, and its role (readwrite on all keys below the prefix); Kubernetes: its token or certificate, and its rights',
  },
  'store-full': {
    hint: 'compact and defragment etcd or raise its --quota-backend-bytes, then: etcdctl alarm disarm',
  },
  'policy-invalid': {
    hint: 'docs/policy-fields.md lists every field; until then the last good policy stays',
  },
  'policy-load': {
    cni: 11,
    hint: 'tartan status says why; what was in force stays, and the load is tried again',
  },
  'switch-refused': { hint: 'tartan switch --dry-run tells all that stands against it' },
  'migration-refused': { hint: 'tartan migrate flannel --dry-run tells all that stands against it' },
  'subnet-exhausted': { hint: 'enlarge network.ranges or shorten the subnets' },
  'subnet-lost': { hint: 'another node holds the subnet; new pods are refused until it is resolved' },
  'interface-not-found': { hint: 'set underlay.interface to the link that carries traffic between nodes' },
  'no-controller': {
    hint: 'run tartan controller; the first one leads after controller.lease.durationSeconds',
  },
  'no-root': { hint: 'run as root' },
  'request-invalid': { hint: 'correct what the message names; --help shows how it is written' },
  'lab-state': { hint: 'make down removes a broken lab' },
} as const satisfies Record<string, { cni?: number; hint: string }>;

export type FaultCode = keyof typeof FAULTS;

/** One thing that is wrong, at its path (a file and line, a JSON path, a variable name). */
export type Problem = { readonly path: string; readonly message: string };

/** More problems than this are counted, not listed: an answer and a log have to stay readable. */
const LISTED = 50;

/** Each problem as `path: message`; the last says how many more there are. */
export function listProblems(problems: readonly Problem[]): string[] {
  const lines = problems.slice(0, LISTED).map(({ path, message }) => `${path}: ${message}`);
  return problems.length <= LISTED ? lines : [...lines, `and ${problems.length - LISTED} more`];
}

/** An error that is meant for the reader: what happened, all problems found, and a hint. */
export class Fault extends Error {
  readonly code: FaultCode;
  readonly problems: readonly Problem[];
  /** The number that somebody else's error had: it is passed on. */
  readonly #cni: number | undefined;
  readonly #hint: string | undefined;

  constructor(
    code: FaultCode,
    message: string,
    options: { problems?: readonly Problem[]; cause?: unknown; cni?: number; hint?: string } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'Fault';
    this.code = code;
    this.problems = options.problems ?? [];
    this.#cni = options.cni;
    this.#hint = options.hint;
  }
  /** That of the code, unless who found it knows better. */
  get hint(): string {
    return this.#hint ?? FAULTS[this.code].hint;
  }
  /** CNI error number; 999 where the table has none. */
  get cni(): number {
    const entry: { readonly hint: string; readonly cni?: number } = FAULTS[this.code];
    return this.#cni ?? entry.cni ?? 999;
  }
  /** The problems as lines `path: message`, as many as can be read. */
  get details(): string {
    return listProblems(this.problems).join('\n');
  }
}

/** What was thrown, as a Fault: a Fault stays, anything else becomes `internal` (or the given code) with it as cause. */
export function toFault(error: unknown, code: FaultCode = 'internal'): Fault {
  if (error instanceof Fault) return error;
  return new Fault(code, error instanceof Error ? error.message : String(error), { cause: error });
}
