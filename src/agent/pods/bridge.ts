/**
 * A bridge keeps its name for as long as pods are its ports, whatever profile the settings take now: moved to another bridge
 * they would lose packets, and no longer be what their ADD answered.
 */
import type { Ledger } from './attachments.ts';
import type { Settings } from '#model/settings.ts';
import type { ProviderLink } from '#model/provider.ts';

/**
 * The settings with the bridge that this node's pods are on; the very same settings where there is none or it is theirs. `look`: the
 * links of the host, asked for only where there are pods of a bridge.
 */
export function keepBridge(
  settings: Settings,
  ledger: Pick<Ledger, 'list'>,
  look: () => readonly Pick<ProviderLink, 'name' | 'master'>[],
): Settings {
  const ports = new Set(
    ledger
      .list()
      .filter(({ wiring, phase }) => wiring === 'bridge' && phase === 'ready')
      .map(({ hostLink }) => hostLink),
  );
  const master =
    ports.size === 0 ? undefined : look().find((link) => ports.has(link.name) && link.master)?.master;
  const { bridge } = settings.wiring;
  if (master === undefined || master === bridge.name) return settings;
  return { ...settings, wiring: { ...settings.wiring, bridge: { ...bridge, name: master } } };
}
