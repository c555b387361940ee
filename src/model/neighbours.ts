/**
 * What we say to other programs that manage links: which are ours. Both files name nothing else, so that an operator's
 * own configuration means what it meant before.
 */
import { IFB_PREFIX, POD_LINK_PREFIX } from './numbers.ts';
import type { Settings } from './settings.ts';

/** Below `paths.etc`. systemd.network(5): the first file that matches counts, in the order of names. */
export const NETWORKD_FILE = 'systemd/network/00-tartan.network';
export const NETWORK_MANAGER_FILE = 'NetworkManager/conf.d/90-tartan.conf';

const BY_NAME = 'interface-name:';
const HEADER = '# Written by tartan install; these links are Tartan’s.\n';

/** Of other settings' time and still there: a bridge that pods are ports of outlives the profile that made it. */
type Left = readonly string[];

/** Shell patterns (fnmatch) of all links that we make on a host. */
export function linkPatterns({ wiring }: Pick<Settings, 'wiring'>, left: Left = []): string[] {
  const bridge = wiring.type === 'bridge' ? [wiring.bridge.name] : [];
  return [...new Set([`${POD_LINK_PREFIX}*`, `${IFB_PREFIX}*`, 'tartan*', ...bridge, ...left])];
}

export function renderNetworkd(settings: Pick<Settings, 'wiring'>, left?: Left): string {
  return `${HEADER}[Match]\nName=${linkPatterns(settings, left).join(' ')}\n\n[Link]\nUnmanaged=yes\n`;
}

/** NetworkManager.conf(5): `+=` adds to what other files say. */
export function renderNetworkManager(settings: Pick<Settings, 'wiring'>, left?: Left): string {
  const names = linkPatterns(settings, left).map((pattern) => `${BY_NAME}${pattern}`);
  return `${HEADER}[keyfile]\nunmanaged-devices+=${names.join(';')}\n`;
}

/** Links that one of the two files names, but for patterns. */
export function namedLinks(text: string): string[] {
  const [, list = ''] = /^(?:Name|unmanaged-devices\+)=(.*)$/m.exec(text) ?? [];
  const names = list.split(/[ ;]/).map((word) => word.replace(BY_NAME, ''));
  return names.filter((name) => name !== '' && !name.includes('*'));
}
