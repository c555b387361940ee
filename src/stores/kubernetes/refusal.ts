import { Fault } from '#model/fault.ts';

/** What the API server says no with (apimachinery meta/v1 Status), and what becomes of it. */
export class KubernetesError extends Error {
  /** Of HTTP. */
  readonly status: number;
  /** Of the API: NotFound, AlreadyExists, Conflict, Expired … */
  readonly reason: string;
  readonly retryAfterMs: number | undefined;
  /** The call was made so often; more than once, and an earlier one may have been done. */
  attempts = 1;

  constructor(status: number, reason: string, message: string, retryAfterMs?: number) {
    super(message);
    this.name = 'KubernetesError';
    this.status = status;
    this.reason = reason;
    this.retryAfterMs = retryAfterMs;
  }
}

/** A process that hangs keeps its connections and answers nothing. */
export class LateError extends Error {}
/** An answer is larger than anybody needs. */
export class LengthError extends Error {}

const NO_SPACE = /database space exceeded/;
const REFUSED: ReadonlySet<number> = new Set([401, 403]);
const PASSING: ReadonlySet<number> = new Set([408, 429, 500, 502, 503, 504]);

export function isStatus(error: unknown, ...statuses: readonly number[]): error is KubernetesError {
  return error instanceof KubernetesError && statuses.includes(error.status);
}

/** What was listed or watched is no longer known from there on. */
export function isExpired(error: unknown): boolean {
  return isStatus(error, 410) || (error instanceof KubernetesError && error.reason === 'Expired');
}

/** The server is told of a version that it does not have: it is behind, or not the one that was asked before. */
export function isAhead(error: unknown): boolean {
  return error instanceof KubernetesError && /[Tt]oo large resource version/.test(error.message);
}

/** The same may be answered in a moment. What is no word of the API server comes from the socket. */
export function isPassing(error: unknown): boolean {
  if (error instanceof KubernetesError)
    return PASSING.has(error.status) && !NO_SPACE.test(error.message) && !isAhead(error);
  return !(error instanceof Fault) && !(error instanceof LengthError);
}

const UNKNOWN =
  'its token or certificate is not accepted: see store.kubernetes, and whether the service account is still there';
const FORBIDDEN =
  'kubectl auth can-i says what this user may; an agent may read no more than it needs: run the command where your own kubeconfig is (store.kubernetes.kubeconfig)';
const AWAY = 'pods keep what they have; see that the API server runs and can be reached (store.kubernetes)';

/** As the rest of the program knows it; what a caller has to look at stays a KubernetesError. */
export function faultOf(error: unknown, where: string): Error {
  if (error instanceof Fault) return error;
  const message = error instanceof Error ? messageOf(error) : String(error);
  const problems = [{ path: where, message }];
  if (error instanceof KubernetesError) {
    if (NO_SPACE.test(message))
      return new Fault('store-full', 'etcd behind the API server has no space left', { problems });
    if (REFUSED.has(error.status))
      return new Fault('store-refused', 'the API server refuses this user', {
        problems,
        hint: error.status === 401 ? UNKNOWN : FORBIDDEN,
      });
    if (!isPassing(error)) return error;
  }
  return new Fault('store-away', 'the API server does not answer', { problems, cause: error, hint: AWAY });
}

export function messageOf(error: Error): string {
  // Several addresses of one name, each with its own reason.
  if (error instanceof AggregateError && error.message === '')
    return error.errors.map((each) => (each instanceof Error ? each.message : String(each))).join(', ');
  return error.message;
}
