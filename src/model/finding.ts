/** What `tartan doctor` says: one sentence about one thing, and what to do. */
export type Severity = 'ok' | 'info' | 'warn' | 'error';
export const SEVERITIES: readonly Severity[] = ['ok', 'info', 'warn', 'error'];

export type Finding = {
  /** Stable name of the check, for scripts. */
  readonly check: string;
  readonly severity: Severity;
  readonly title: string;
  /** What was seen. */
  readonly detail?: string;
  /** What to do; there is one whenever severity is warn or error. */
  readonly hint?: string;
};
