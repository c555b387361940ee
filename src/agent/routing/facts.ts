/** What of the host concerns BIRD, for `tartan doctor`. */
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { birdDirectory } from './leave.ts';
import { filesIn, readPid } from '#bird/files.ts';
import type { HostFacts } from '#model/facts.ts';
import type { Settings } from '#model/settings.ts';

/** Of Debian's package. */
const OTHER_SOCKET = '/run/bird/bird.ctl';

/** Undefined: no routing protocol is spoken. */
export function lookAtRouting(settings: Settings): HostFacts['routing'] {
  if (!settings.routing.enabled) return undefined;
  const { port } = settings.routing.speaker;
  const own = ownSockets(settings);
  return {
    port,
    installed: (process.env['PATH'] ?? '').split(delimiter).some((path) => existsSync(join(path, 'bird'))),
    otherDaemon: existsSync(OTHER_SOCKET),
    portTaken: listenersOn(port).some((inode) => !own.has(inode)),
  };
}

/** Inodes of the sockets of our daemon. */
function ownSockets(settings: Settings): Set<string> {
  const directory = birdDirectory(settings);
  const pid = existsSync(directory) ? readPid(filesIn(directory)) : undefined;
  if (pid === undefined) return new Set();
  const links = readdirSync(`/proc/${pid}/fd`).map((fd) => linkOf(`/proc/${pid}/fd/${fd}`));
  return new Set(links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? []));
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

/** /proc/net/tcp (proc(5)): local address, state (0A: listening) and inode are the columns 2, 4 and 10. */
function listenersOn(port: number): string[] {
  const wanted = port.toString(16).toUpperCase().padStart(4, '0');
  return ['tcp', 'tcp6'].flatMap((name) =>
    readLines(`/proc/thread-self/net/${name}`).flatMap((line) => {
      const columns = line.trim().split(/\s+/);
      const isIt = columns[1]?.endsWith(`:${wanted}`) === true && columns[3] === '0A';
      return isIt ? [columns[9] ?? ''] : [];
    }),
  );
}

function readLines(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split('\n');
  } catch {
    return [];
  }
}
