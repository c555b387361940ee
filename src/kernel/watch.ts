/** Changes of one namespace as they happen: rtnetlink and nftables events, merged into one sequence. */
import type { Change } from './kernel.ts';
import { watchSocket } from './events.ts';
import { NetlinkError } from './netlink/socket.ts';
import { openScope, type Scope } from './scope.ts';
import { NETLINK_NETFILTER, NETLINK_ROUTE, NETLINK_XFRM, netlinkSocket, SysError } from './sys.ts';
import { Translator } from './translate.ts';
import { XFRM_GROUPS, xfrmChanges } from './xfrm.ts';

/** RTNLGRP_*: link, neigh, ipv4 address, route and rule, ipv6 address, route and rule. */
const ROUTE_GROUPS = [1, 3, 5, 7, 8, 9, 11, 19];
/** NFNLGRP_NFTABLES. */
const NFT_GROUPS = [7];

export type WatchOptions = {
  readonly run: Scope['run'];
  readonly isNamed: (link: string) => boolean;
  readonly parseNftEvent: (bytes: Buffer) => Change[];
};

/** Until the signal aborts. Lost events show as `resync`, after which the sequence goes on. */
export async function* watchChanges(options: WatchOptions, signal: AbortSignal): AsyncGenerator<Change> {
  let pending: Change[] = [];
  let wake = Promise.withResolvers<void>();
  const push = (changes: readonly Change[]): void => {
    if (changes.length === 0) return;
    for (const change of changes) pending.push(change);
    wake.resolve();
  };
  const stop = (): void => wake.resolve();
  signal.addEventListener('abort', stop, { once: true });
  let watch: Disposable | undefined;
  const start = (): void => {
    watch?.[Symbol.dispose]();
    watch = watchBoth(options, push, () => {
      start();
      push([{ type: 'resync' }]);
    });
  };
  try {
    start();
    while (!signal.aborted) {
      await wake.promise;
      wake = Promise.withResolvers();
      const batch = pending;
      pending = [];
      yield* withoutRepeats(batch);
    }
  } finally {
    signal.removeEventListener('abort', stop);
    watch?.[Symbol.dispose]();
  }
}

/** One `underlay`, and one `learned`, stands for any number that came together. */
function* withoutRepeats(changes: readonly Change[]): Generator<Change> {
  const kept = new Map<Change['type'], Change>();
  for (const change of changes) {
    if (change.type === 'underlay' || change.type === 'learned') kept.set(change.type, change);
    else yield change;
  }
  yield* kept.values();
}

/** The event socket is open before the translator reads the tables, so nothing falls between. */
function watchBoth(
  { run, isNamed, parseNftEvent }: WatchOptions,
  push: (changes: readonly Change[]) => void,
  onLost: () => void,
): Disposable {
  const stack = new DisposableStack();
  try {
    const route = run(() => netlinkSocket(NETLINK_ROUTE, ROUTE_GROUPS));
    const nft = run(() => netlinkSocket(NETLINK_NETFILTER, NFT_GROUPS));
    const scope = openScope(run);
    stack.use(scope.socket);
    const translator = new Translator(scope, isNamed);
    // What cannot be read, or asked back for, is as good as lost.
    const reading = (read: (bytes: Buffer) => Change[]) => (bytes: Buffer) => {
      try {
        push(read(bytes));
      } catch (error) {
        if (!(error instanceof NetlinkError || error instanceof SysError)) throw error;
        onLost();
      }
    };
    const onRoute = reading((bytes) => translator.read(bytes));
    stack.use(watchSocket(route, onRoute, onLost));
    stack.use(watchSocket(nft, reading(parseNftEvent), onLost));
    const xfrm = run(openXfrmEvents);
    if (xfrm !== undefined) stack.use(watchSocket(xfrm, reading(xfrmChanges), onLost));
    return stack;
  } catch (error) {
    stack[Symbol.dispose]();
    throw error;
  }
}

/** Undefined where the kernel has no IPsec. */
function openXfrmEvents(): number | undefined {
  try {
    return netlinkSocket(NETLINK_XFRM, XFRM_GROUPS);
  } catch (error) {
    if (error instanceof SysError && error.code === 'EPROTONOSUPPORT') return undefined;
    throw error;
  }
}
