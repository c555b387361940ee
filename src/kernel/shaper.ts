/**
 * Steps about and a look at what holds packets back: a token bucket on what a link sends, and a redirect of what comes
 * in by a link to an ifb, whose own bucket then holds it back.
 */
import type { Step } from '#model/diff.ts';
import type { RedirectItem, ShaperItem } from '#model/host.ts';
import type { Failure } from './kernel.ts';
import { MessageWriter, NLM_F_DUMP } from './netlink/message.ts';
import type { LinkNames } from './netlink/names.ts';
import { NetlinkError, type NetlinkSocket } from './netlink/socket.ts';
import {
  askFilters,
  askQdiscs,
  putBucket,
  putIngress,
  putRedirect,
  readQdisc,
  readRedirect,
  removeBucket,
  removeIngress,
  removeRedirect,
} from './netlink/traffic-control.ts';
import { SysError } from './sys.ts';

type Namespace = { readonly socket: NetlinkSocket; readonly names: LinkNames };
type Shaping = ShaperItem | RedirectItem;

/** What the kernel says when a qdisc, a filter or its link is not there, or is not of our making. */
const GONE: ReadonlySet<string> = new Set(['ENODEV', 'ENOENT', 'EINVAL']);

/** Tries every step on a shaper or redirect, in order; answers those that failed. */
export function applyShaping(namespace: Namespace, steps: readonly Step[]): Failure[] {
  namespace.names.forget();
  return steps.flatMap((step) => {
    try {
      if (step.op === 'remove') removeShaping(namespace, step.was as Shaping);
      else putShaping(namespace, step.item as Shaping);
      return [];
    } catch (error) {
      if (error instanceof RangeError) return [{ step, code: 'EINVAL', message: error.message }];
      if (!(error instanceof NetlinkError || error instanceof SysError)) throw error;
      if (step.op === 'remove' && GONE.has(error.code)) return [];
      return [{ step, code: error.code, message: error.message }];
    }
  });
}

function putShaping({ socket, names }: Namespace, item: Shaping): void {
  const index = names.index(item.link);
  if (item.kind === 'shaper') return request(socket, (writer) => putBucket(writer, index, item));
  const to = names.index(item.to);
  request(socket, (writer) => putIngress(writer, index), new Set(['EEXIST']));
  request(socket, (writer) => removeRedirect(writer, index), GONE);
  request(socket, (writer) => putRedirect(writer, index, to));
}

function removeShaping({ socket, names }: Namespace, was: Shaping): void {
  const index = names.index(was.link);
  if (was.kind === 'shaper') return request(socket, (writer) => removeBucket(writer, index, was));
  request(socket, (writer) => removeRedirect(writer, index), GONE);
  request(socket, (writer) => removeIngress(writer, index));
}

function request(
  socket: NetlinkSocket,
  write: (writer: MessageWriter) => void,
  fine: ReadonlySet<string> = new Set(),
): void {
  const writer = new MessageWriter();
  write(writer);
  for (const refusal of socket.batch(writer).refusals.values()) {
    if (!fine.has(refusal.code)) throw new NetlinkError(refusal);
  }
}

/** Buckets and redirects of ours, on whatever links. A redirect whose target is gone is seen with an empty `to`. */
export function observeShaping({ socket, names }: Namespace): Shaping[] {
  names.forget();
  const writer = new MessageWriter();
  askQdiscs(writer, NLM_F_DUMP);
  return socket.dump(writer, readQdisc).flatMap((row): Shaping[] => {
    const link = names.name(row.index);
    if (link === undefined) return [];
    if (row.type === 'bucket') return [{ kind: 'shaper', link, ...row.bucket }];
    return findRedirects(socket, row.index).map((to) => ({
      kind: 'redirect',
      link,
      to: names.name(to) ?? '',
    }));
  });
}

function findRedirects(socket: NetlinkSocket, index: number): number[] {
  const writer = new MessageWriter();
  askFilters(writer, NLM_F_DUMP, index);
  return socket.dump(writer, readRedirect);
}
