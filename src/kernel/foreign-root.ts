/**
 * The file system as another process sees it (proc(5), /proc/PID/root): a container runtime may live in a mount namespace
 * of its own, and so may the agent. What always holds: symbolic links are followed inside that view. The kernel would
 * follow an absolute one (`/var/run` → `/run`) in the view of whoever asks.
 */
import { readlinkSync, statSync } from 'node:fs';

/** As the kernel: path_resolution(7). */
const MAX_LINKS = 40;

/** Whether the process sees other files than this one does; a process that is gone has no view of its own. */
export function hasOwnView(pid: number): boolean {
  try {
    const [own, other] = ['self', pid].map((who) => `/proc/${who}`) as [string, string];
    if (readlinkSync(`${own}/ns/mnt`) !== readlinkSync(`${other}/ns/mnt`)) return true;
    const [here, there] = [statSync(`${own}/root/`), statSync(`${other}/root/`)];
    return here.dev !== there.dev || here.ino !== there.ino;
  } catch {
    return false;
  }
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
