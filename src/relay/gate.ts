/**
 * Who may read through a relay: who may read the same from the API server. A relay asks it whose the token is and what he
 * may watch; so nobody learns by a relay what he would not learn without one, and there is no list of readers to keep.
 *
 * Tokens are made for relays alone (RELAY_AUDIENCE): one that was stolen here opens nothing else. They are known by their
 * hash, and answers are believed for a bounded time.
 */
import { createHash } from 'node:crypto';
import type { Clock } from '#lib/clock.ts';
import { MANIFEST_RESOURCES } from '#model/kubernetes-kinds.ts';
import { RELAY_AUDIENCE } from '#model/relay.ts';
import type { KubernetesClient } from '#stores/kubernetes/client.ts';
import { stateResource } from '#stores/kubernetes/resource.ts';
import type { Wanted } from '#stores/relay/lines.ts';

export type Answer = { readonly status: 200 | 401 | 403 | 503; readonly reason: string };
export type Gate = { readonly admit: (token: string, wanted: Wanted) => Promise<Answer> };

export type GateOptions = {
  readonly client: Pick<KubernetesClient, 'call'>;
  readonly clock: Clock;
};

type User = {
  readonly username?: string;
  readonly uid?: string;
  readonly groups?: readonly string[];
  readonly extra?: unknown;
};
type TokenReview = {
  readonly status?: {
    readonly authenticated?: boolean;
    readonly user?: User;
    readonly audiences?: readonly string[];
  };
};
type AccessReview = { readonly status?: { readonly allowed?: boolean } };
type GroupResource = { readonly group: string; readonly plural: string };

const AUTHENTICATION = '/apis/authentication.k8s.io/v1/tokenreviews';
const AUTHORIZATION = '/apis/authorization.k8s.io/v1/subjectaccessreviews';
const BELIEVED_MS = 60_000;
const MAX_BELIEVED = 4096;
/** At once: strangers cannot make it ask more. */
const MAX_ASKED = 16;

export class KubernetesGate implements Gate {
  readonly #options: GateOptions;
  readonly #answers = new Map<string, { readonly answer: Promise<unknown>; readonly untilMs: number }>();
  #asked = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(options: GateOptions) {
    this.#options = options;
  }

  async admit(token: string, wanted: Wanted): Promise<Answer> {
    if (token === '') return { status: 401, reason: 'there is no token' };
    try {
      const user = await this.#userOf(token);
      if (user === undefined)
        return { status: 401, reason: 'the token is not known, or not made for relays' };
      for (const resource of resourcesOf(wanted)) {
        if (await this.#mayWatch(user, resource)) continue;
        const what = [resource.plural, resource.group].filter((part) => part !== '').join('.');
        return { status: 403, reason: `${user.username} may not watch ${what}` };
      }
      return { status: 200, reason: '' };
    } catch (error) {
      return { status: 503, reason: error instanceof Error ? error.message : String(error) };
    }
  }

  #userOf(token: string): Promise<User | undefined> {
    const key = createHash('sha256').update(token).digest('base64');
    return this.#ask(key, async () => {
      const spec = { token, audiences: [RELAY_AUDIENCE] };
      const { status = {} } = await this.#review<TokenReview>(AUTHENTICATION, 'TokenReview', spec);
      const isForUs = status.authenticated === true && status.audiences?.includes(RELAY_AUDIENCE) === true;
      return isForUs ? status.user : undefined;
    });
  }
  #mayWatch(user: User, { group, plural }: GroupResource): Promise<boolean> {
    const key = JSON.stringify([user, group, plural]);
    return this.#ask(key, async () => {
      const { username, ...rest } = user;
      const resourceAttributes = { group, resource: plural, verb: 'watch' };
      const spec = { user: username, ...rest, resourceAttributes };
      const { status } = await this.#review<AccessReview>(AUTHORIZATION, 'SubjectAccessReview', spec);
      return status?.allowed === true;
    });
  }
  #review<T>(path: string, kind: string, spec: object): Promise<T> {
    const apiVersion = path.slice('/apis/'.length, path.lastIndexOf('/'));
    const body = { apiVersion, kind, metadata: {}, spec };
    return this.#options.client.call<T>({ method: 'POST', path, body });
  }

  /** The same question is asked once; a failure is no answer. */
  #ask<T>(key: string, question: () => Promise<T>): Promise<T> {
    const now = this.#options.clock.monotonicMs();
    const known = this.#answers.get(key);
    if (known !== undefined && known.untilMs > now) return known.answer as Promise<T>;
    const answer = this.#inTurn(question);
    answer.catch(() => this.#answers.delete(key));
    this.#answers.delete(key);
    this.#answers.set(key, { answer, untilMs: now + BELIEVED_MS });
    const [oldest] = this.#answers.keys();
    if (this.#answers.size > MAX_BELIEVED && oldest !== undefined) this.#answers.delete(oldest);
    return answer;
  }
  async #inTurn<T>(question: () => Promise<T>): Promise<T> {
    if (this.#asked >= MAX_ASKED) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#asked += 1;
    try {
      return await question();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#asked -= 1;
      else next();
    }
  }
}

function resourcesOf({ kind, only, except }: Wanted): GroupResource[] {
  if (kind !== 'Manifest') return [stateResource(kind)];
  return MANIFEST_RESOURCES.filter(({ group, versions, kind: name }) => {
    const prefix = group === '' ? '' : `${group}/`;
    const names = new Set(versions.map((version) => `${prefix}${version}/${name}`));
    return (only === undefined || names.has(only)) && (except === undefined || !names.has(except));
  });
}
