/** The container's side of a request. */
import { existsSync } from 'node:fs';
import type { Call } from './attachments.ts';
import { hasOwnView, pathInView } from '#kernel/foreign-root.ts';
import { openNetns } from '#kernel/netns.ts';
import { Fault } from '#model/fault.ts';

/**
 * The path as the caller means it: a runtime may keep network namespaces in a mount namespace of its own, and the agent
 * may live in a container. Without a caller (a spooled DEL) the agent's own view has to do.
 */
function inMountNamespaceOf(pid: number | undefined, path: string): string {
  if (pid === undefined || !hasOwnView(pid)) return path;
  const seen = pathInView(pid, path);
  return existsSync(seen) ? seen : path;
}

/** Whose view of the file system counts. */
export type Caller = Pick<Call, 'pid'>;

/** Opens a network namespace by its path as the caller means it; whoever asks closes it. Throws when it is not there. */
export function openNetnsFor({ pid }: Caller, path: string): number {
  return openNetns(inMountNamespaceOf(pid, path));
}

/** Opens the request's network namespace; the caller closes it. Throws Fault `unknown-container` when it is not there. */
export function netnsOf(path: string, call: Call): number {
  try {
    return openNetnsFor(call, path);
  } catch (error) {
    throw new Fault(
      'unknown-container',
      `network namespace ${path} of ${call.env['CNI_CONTAINERID']} cannot be opened`,
      {
        problems: [{ path: 'CNI_NETNS', message: error instanceof Error ? error.message : String(error) }],
        cause: error,
      },
    );
  }
}
