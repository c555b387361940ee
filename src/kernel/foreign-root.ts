/**
 * The file system as another process sees it (proc(5), /proc/PID/root): a container runtime may live in a mount namespace
 * of its own, and so may the agent. What always holds: symbolic links are followed inside that view. The kernel would
 * follow an absolute one (`/var/run` → `/run`) in the view of whoever asks.
 */
import { readlinkSync, statSync } from 'node:fs';

/** As the kernel: path_resolution(7). */
const MAX_LINKS = 40;

type View = { readonly namespace: string; readonly device: number; readonly inode: number };

/** This process never leaves its own. */
let own: View | undefined;

/** Whether the process sees other files than this one does; a process that is gone has no view of its own. */
export function hasOwnView(pid: number): boolean {
  try {
    own ??= viewOf('self');
    const other = viewOf(pid);
    return other.namespace !== own.namespace || other.device !== own.device || other.inode !== own.inode;
  } catch {
    return false;
  }
}

function viewOf(who: number | 'self'): View {
  const { dev: device, ino: inode } = statSync(`/proc/${who}/root/`);
  return { namespace: readlinkSync(`/proc/${who}/ns/mnt`), device, inode };
}

/** The absolute path of the process’s view, as this process can open it. Throws when links go in circles. */
export function pathInView(pid: number, path: string): string {
  const root = `/proc/${pid}/root`;
  const ahead = path.split('/').reverse();
  let at: string[] = [];
  for (let links = 0; ahead.length > 0;) {
    const name = ahead.pop() ?? '';
    if (name === '..') at.pop();
    if (['', '.', '..'].includes(name)) continue;
    const target = linkTarget(root, [...at, name]);
    if (target === undefined) {
      at.push(name);
      continue;
    }
    links += 1;
    if (links > MAX_LINKS) throw new Error(`${path}: too many symbolic links`);
    if (target.startsWith('/')) at = [];
    ahead.push(...target.split('/').reverse());
  }
  return [root, ...at].join('/');
}

/** Links below /proc lead where no path does: only the kernel can follow them. */
function linkTarget(root: string, names: readonly string[]): string | undefined {
  if (names[0] === 'proc' && names.length > 1) return undefined;
  try {
    return readlinkSync([root, ...names].join('/'));
  } catch {
    return undefined;
  }
}
