/**
 * The admin API: HTTP/1.1 over the unix socket `<paths.run>/api.sock` (mode 0600). One table names every path with
 * its method and the schemas of its request (JSON, where it has one) and its answer, for the server and for its clients.
 * Errors are answered as `errorSchema` with an HTTP status of 400 or more.
 */
import { z } from 'zod';
import { FAULTS, Fault, type FaultCode } from '#model/fault.ts';
import { POLICY_API } from './policy.ts';
import { ROAD_API } from './road.ts';
import { routesSchema } from './routes.ts';
import { statusSchema } from './status.ts';

/** Name of the socket below `paths.run`. */
export const API_SOCKET = 'api.sock';
/** Name of our list below `paths.cniConf`: early, for containerd takes the first by name. */
export const CONFLIST_FILE = '10-tartan.conflist';

export const errorSchema = z.object({
  code: z.string(),
  message: z.string(),
  hint: z.string(),
  problems: z.array(z.object({ path: z.string(), message: z.string() })),
});
export type ApiError = z.infer<typeof errorSchema>;

/** After pause or resume: what holds now. */
export const switchSchema = z.object({ paused: z.boolean(), braked: z.string().optional() });
export type SwitchAnswer = z.infer<typeof switchSchema>;

/** Items as the agent wants them and as it last saw them, by key. */
export const stateSchema = z.object({
  wanted: z.record(z.string(), z.unknown()),
  seen: z.record(z.string(), z.unknown()),
});
export type StateAnswer = z.infer<typeof stateSchema>;

/** The scene that doctor's checks judge, as the advisor room defines it. */
export const factsSchema = z.record(z.string(), z.unknown());
export type FactsAnswer = z.infer<typeof factsSchema>;

/** Parts of a support bundle by file name; secrets are already left out. */
export const supportSchema = z.object({ files: z.record(z.string(), z.string()) });
export type SupportAnswer = z.infer<typeof supportSchema>;

/** What `uninstall --purge` removed from the kernel, in ip and nft syntax, and what it could not. */
export const purgeSchema = z.object({ removed: z.array(z.string()), failed: z.array(z.string()) });
export type PurgeAnswer = z.infer<typeof purgeSchema>;

export const API = {
  status: { method: 'GET', path: '/v1/status', answer: statusSchema },
  facts: { method: 'GET', path: '/v1/facts', answer: factsSchema },
  state: { method: 'GET', path: '/v1/state', answer: stateSchema },
  routes: { method: 'GET', path: '/v1/routes', answer: routesSchema },
  pause: { method: 'POST', path: '/v1/pause', answer: switchSchema },
  /** Also releases the brake. */
  resume: { method: 'POST', path: '/v1/resume', answer: switchSchema },
  support: { method: 'POST', path: '/v1/support', answer: supportSchema },
  /** Pauses the node, then removes everything of ours from the kernel but the links of living pods. */
  purge: { method: 'POST', path: '/v1/purge', answer: purgeSchema },
  ...ROAD_API,
  ...POLICY_API,
} as const satisfies Record<string, CallShape>;

export type CallShape = {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly request?: z.ZodType;
  readonly answer: z.ZodType;
};
export type ApiCall = keyof typeof API;
export type ApiAnswer<C extends ApiCall> = z.infer<(typeof API)[C]['answer']>;
/** What a call is given: nothing, or its checked request. */
export type ApiRequest<C extends ApiCall> = (typeof API)[C] extends { readonly request: infer R }
  ? R extends z.ZodType
    ? [request: z.output<R>]
    : never
  : [];

/** Bytes of a request; longer ones are refused unread. */
export const MAX_REQUEST = 1 << 20;
/** Bytes of an answer: a snapshot of a large cluster has tens of millions. */
export const MAX_ANSWER = 64 << 20;

/** Answered as text: Prometheus metrics; 200 while the process lives; 200 when ready, else 503 with the reasons. */
export const TEXT_PATHS = { metrics: '/metrics', health: '/healthz', ready: '/readyz' } as const;

export function errorAnswer(fault: Fault): ApiError {
  return { code: fault.code, message: fault.message, hint: fault.hint, problems: [...fault.problems] };
}

/** The fault that an error answer tells of; a code of a newer agent becomes `internal`. */
export function faultOf(error: ApiError): Fault {
  const code = Object.hasOwn(FAULTS, error.code) ? (error.code as FaultCode) : 'internal';
  return new Fault(code, error.message, { problems: error.problems });
}
