/** The container's side of a request. */
import type { Call } from './attachments.ts';
import { openNetns } from '#kernel/netns.ts';
import { Fault } from '#model/fault.ts';

/** Opens the request's network namespace; the caller closes it. Throws Fault `unknown-container` when it is not there. */
export function netnsOf(path: string, call: Call): number {
  try {
    return openNetns(path);
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
