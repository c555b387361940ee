/**
 * What we say to other programs that manage links: which are ours. Both files name nothing else, so that an operator's
 * own configuration means what it meant before.
 */
import { IFB_PREFIX, POD_LINK_PREFIX } from './numbers.ts';
import type { Settings } from './settings.ts';

/** Below `paths.etc`. systemd.network(5): the first file that matches counts, in the order of names. */
export const NETWORKD_FILE = 'systemd/network/00-tartan.network';
export const NETWORK_MANAGER_FILE = 'NetworkManager/conf.d/90-tartan.conf';

const HEADER = '# Written by tartan install; these links are Tartan’s.\n';

/** Shell patterns (fnmatch) of all links that we make on a host. */
export function linkPatterns({ wiring }: Pick<Settings, 'wiring'>): string[] {
  const bridge = wiring.type === 'bridge' ? [wiring.bridge.name] : [];
  return [`${POD_LINK_PREFIX}*`, `${IFB_PREFIX}*`, 'tartan*', ...bridge];
}

export function renderNetworkd(settings: Pick<Settings, 'wiring'>): string {
  return `${HEADER}[Match]\nName=${linkPatterns(settings).join(' ')}\n\n[Link]\nUnmanaged=yes\n`;
}

/** NetworkManager.conf(5): `+=` adds to what other files say. */
export function renderNetworkManager(settings: Pick<Settings, 'wiring'>): string {
  const names = linkPatterns(settings).map((pattern) => `interface-name:${pattern}`);
  return `${HEADER}[keyfile]\nunmanaged-devices+=${names.join(';')}\n`;
}
