import { Fault, type Problem } from '#model/fault.ts';

/** What etcd says no with, and what becomes of it. Codes are gRPC's. */
export class EtcdError extends Error {
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.name = 'EtcdError';
    this.code = code;
  }
  get isCompacted(): boolean {
    return this.code === CODE.outOfRange && /compacted/.test(this.message);
  }
}

export const CODE = {
  unknown: 2,
  invalidArgument: 3,
  deadlineExceeded: 4,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  outOfRange: 11,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  dataLoss: 15,
  unauthenticated: 16,
} as const;

const NO_SPACE = /space exceeded|NOSPACE/;
const REFUSED: ReadonlySet<number> = new Set([CODE.permissionDenied, CODE.unauthenticated]);
const REFUSED_AS_ARGUMENT = /authentication failed|user name is empty|permission denied|auth/i;
const PASSING: ReadonlySet<number> = new Set([
  CODE.unknown,
  CODE.deadlineExceeded,
  CODE.unavailable,
  CODE.unimplemented,
  CODE.internal,
  CODE.dataLoss,
]);

/** Another endpoint, or the same one in a moment, may answer. What is no word of etcd comes from the socket. */
export function isPassing(error: unknown): boolean {
  if (!(error instanceof EtcdError)) return !(error instanceof Fault);
  if (isTokenLost(error)) return true;
  return PASSING.has(error.code) || (error.code === CODE.resourceExhausted && !NO_SPACE.test(error.message));
}

/** Tokens end when they are not used for long, when etcd restarts, and when users or roles are changed. */
export function isTokenLost(error: unknown): boolean {
  return error instanceof EtcdError && /invalid auth token|revision of auth store is old/.test(error.message);
}

const REFUSED_HINT =
  'check store.etcd.user, its password and certificates, and its role (readwrite on all keys below the prefix)';
const AWAY_HINT =
  'pods keep what they have; see that the members of etcd run and can be reached (store.etcd.endpoints)';

/** As the rest of the program knows it. `last` decides, all are told. */
export function faultOf(failures: ReadonlyMap<string, unknown>, last: unknown): Error {
  if (last instanceof Fault) return last;
  const problems = Array.from(failures, ([path, error]): Problem => ({ path, message: messageOf(error) }));
  if (last instanceof EtcdError) {
    if (last.code === CODE.resourceExhausted && NO_SPACE.test(last.message))
      return new Fault('store-full', 'etcd has no space left, so nothing can be written', { problems });
    if (REFUSED.has(last.code) || isRefusedArgument(last))
      return new Fault('store-refused', 'etcd refuses this user', { problems, hint: REFUSED_HINT });
    if (!isPassing(last)) return last;
  }
  return new Fault('store-away', 'etcd does not answer', { problems, cause: last, hint: AWAY_HINT });
}

function isRefusedArgument({ code, message }: EtcdError): boolean {
  return (
    (code === CODE.invalidArgument || code === CODE.failedPrecondition) && REFUSED_AS_ARGUMENT.test(message)
  );
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // Several addresses of one name, each with its own reason.
  if (error instanceof AggregateError && error.message === '') return error.errors.map(messageOf).join(', ');
  return error.message;
}
