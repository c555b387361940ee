/** The end of routing on a node: the daemon says goodbye to its peers, then its routes and files go. */
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { openBird } from '#bird/bird.ts';
import type { Kernel } from '#kernel/kernel.ts';
import { systemClock } from '#lib/clock.ts';
import type { Settings } from '#model/settings.ts';
import { showItem } from '#model/show.ts';

/** Configuration, control socket, pid and log of the daemon. */
export function birdDirectory({ paths }: Pick<Settings, 'paths'>): string {
  return join(paths.run, 'bird');
}

export const BIRD_TIMEOUT_MS = 10_000;

/** Whether a daemon, or what one left, may be there. */
export function hasRouting(settings: Pick<Settings, 'paths'>): boolean {
  return existsSync(birdDirectory(settings));
}

/** May be repeated. Answers what is gone, for people. */
export async function leaveRouting(
  settings: Pick<Settings, 'paths'>,
  kernel: Pick<Kernel, 'removeLearnedRoutes'>,
): Promise<string[]> {
  const directory = birdDirectory(settings);
  const wasThere = existsSync(directory);
  if (wasThere) {
    const bird = await openBird({
      directory,
      command: ['bird'],
      clock: systemClock,
      timeoutMs: BIRD_TIMEOUT_MS,
      onChange: () => {},
    });
    await bird.close('stop');
    rmSync(directory, { recursive: true, force: true });
  }
  const routes = kernel.removeLearnedRoutes().map((route) => `${showItem(route)} proto bird`);
  return [...(wasThere ? ['the daemon bird'] : []), ...routes];
}
