/** Steps about links. Nothing that is not ours is created over, deleted or marked. */
import type { Step } from '#model/diff.ts';
import type { LinkItem } from '#model/host.ts';
import { setTxChecksumOffload } from './ethtool.ts';
import type { Failure } from './kernel.ts';
import { createLink, deleteLink, isMade, type MadeLink, setLink } from './netlink/link.ts';
import { NetlinkError } from './netlink/socket.ts';
import { findLink, type Scope } from './scope.ts';
import { SysError } from './sys.ts';
import { makeTun } from './tun.ts';

export type LinkStep =
  | { readonly op: 'add'; readonly item: LinkItem }
  | { readonly op: 'replace' | 'recreate'; readonly item: LinkItem; readonly was: LinkItem }
  | { readonly op: 'remove'; readonly was: LinkItem };

/** Undefined when done. */
export function applyLink(scope: Scope, step: Step & LinkStep): Failure | undefined {
  try {
    scope.names.forget();
    changeLink(scope, step);
    return undefined;
  } catch (error) {
    if (error instanceof NetlinkError || error instanceof SysError) {
      return { step, code: error.code, message: error.message };
    }
    throw error;
  } finally {
    scope.names.forget();
  }
}

function changeLink(scope: Scope, step: LinkStep): void {
  if (step.op === 'remove') return remove(scope, step.was);
  const { item } = step;
  if (step.op === 'replace' || !isMade(item)) {
    return configure(scope, item, step.op === 'add' ? undefined : step.was);
  }
  if (step.op === 'recreate') remove(scope, step.was);
  create(scope, item);
  configure(scope, item);
}

function remove(scope: Scope, was: LinkItem): void {
  if (was.type === 'foreign') return;
  const row = findLink(scope, was.name);
  if (row === undefined) return;
  if (!row.ours) throw refused('EPERM', 1, `${was.name} is not ours`);
  scope.writer.clear();
  deleteLink(scope.writer, row.index);
  scope.socket.request(scope.writer);
}

/** Nothing of these could be other than it is. */
const STAYS: ReadonlySet<string> = new Set(['bridge', 'ifb', 'tun']);

/** A link of ours that is there although it was not seen gives way, unless it only has to be configured. */
function create(scope: Scope, item: MadeLink): void {
  try {
    tryCreate(scope, item);
  } catch (error) {
    if (!(error instanceof NetlinkError) || error.code !== 'EEXIST') throw error;
    const row = findLink(scope, item.name);
    if (row?.ours === false) throw refused('EEXIST', 17, `${item.name} exists and is not ours`);
    if (row?.kind === item.type && STAYS.has(item.type)) return;
    remove(scope, item);
    tryCreate(scope, item);
  }
}

function tryCreate({ socket, writer, names, run }: Scope, item: MadeLink): void {
  if (item.type === 'tun') return run(() => makeTun(item.name));
  writer.clear();
  createLink(writer, item, names);
  socket.request(writer);
}

function configure(scope: Scope, item: LinkItem, was?: LinkItem): void {
  const { socket, writer, names } = scope;
  writer.clear();
  setLink(writer, item, names, was);
  for (const refusal of socket.batch(writer).refusals.values()) {
    // A host without IPv6 has no address generation to switch off.
    if (refusal.code !== 'EAFNOSUPPORT') throw new NetlinkError(refusal);
  }
  if (item.type === 'wireguard') scope.wireguard.configure(item);
  const offload = item.txChecksumOffload;
  if (offload !== undefined && offload !== was?.txChecksumOffload) {
    scope.run(() => setTxChecksumOffload(item.name, offload));
  }
}

function refused(code: string, errno: number, reason: string): NetlinkError {
  return new NetlinkError({ code, errno, reason: `${code}: ${reason}` });
}
