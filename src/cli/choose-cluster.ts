/** Objects of a cluster for `tartan choose`, of the kinds that may need something of a provider or tell which one is there. */
import { isAudited } from '#advisor/audit/uses.ts';
import { configOf } from './options.ts';
import type { Options } from './policy-source.ts';
import type { Doors, Everything } from './program.ts';
import { readSettings } from './settings-file.ts';

const REQUEST_TIMEOUT_SECONDS = 30;

/** From the API server of the settings, else from the one that kubectl would ask. */
export async function readCluster(
  options: Options,
  { everything }: Pick<Doors, 'everything'>,
): Promise<Everything> {
  const { store } = readSettings(configOf(options)).settings;
  const settings =
    store.type === 'kubernetes' ? store.kubernetes : { requestTimeoutSeconds: REQUEST_TIMEOUT_SECONDS };
  return everything({ settings, wants: isAudited });
}
