/** Starts and stops the agent of one node. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Agent } from './agent.ts';
import { LogTail, openEvents, openLog } from './log.ts';
import { openIpsecKeys } from './roads/ipsec-keys.ts';
import { IpsecRoad } from './roads/ipsec-road.ts';
import { openMetrics } from './metrics.ts';
import { openTunnelRoad } from './roads/tunnel-road.ts';
import { openTunnelSecrets } from './roads/tunnel-secrets.ts';
import { openWireguardKey, type WireguardKey } from './roads/wireguard-key.ts';
import { systemClock } from '#lib/clock.ts';
import { openKernel } from '#kernel/linux.ts';
import { ready as poolWarm } from '#kernel/netns.ts';
import { Fault } from '#model/fault.ts';
import type { Settings } from '#model/settings.ts';
import { type Keep, openKeep } from '#stores/last-good.ts';
import { openLedger } from '#stores/ledger.ts';
import { type OpenOptions, openStore } from '#stores/open.ts';

export type RunOptions = {
  readonly version: string;
  /** Aborts: stop serving and return; the data plane stays as it is. */
  readonly signal: AbortSignal;
};

/** Runs until the signal aborts. Throws a Fault when the agent cannot start. */
export async function runAgent(settings: Settings, options: RunOptions): Promise<void> {
  if (process.geteuid?.() !== 0)
    throw new Fault('no-root', 'the agent configures the network and must run as root');
  await poolWarm;
  for (const path of [settings.paths.run, settings.paths.state])
    mkdirSync(path, { recursive: true, mode: 0o700 });
  const keep = settings.policy.enforce ? openKeep(join(settings.paths.state, 'policies.journal')) : undefined;
  let key: WireguardKey | undefined;
  const wireguardKey = (): string => (key ??= openWireguardKey(settings.paths.state)).publicKey;
  if (settings.road.type === 'wireguard') wireguardKey();
  const logTail = new LogTail();
  const log = openLog(settings.log.level, settings.node.name, logTail);
  const events = openEvents(log);
  const notice = (text: string): void => events.add('warning', text);
  const store = await openStore(settings.store, { lastGood: lastGoodOf(keep), notice });
  const secrets = openTunnelSecrets(settings);
  if (settings.road.type === 'udp') secrets();
  const { signal } = options;
  const directory = settings.paths.run;
  const tunnel = await openTunnelRoad({ directory, secrets, clock: systemClock, signal, log, events });
  const ipsec = new IpsecRoad((nudge) => openIpsecKeys(settings, { nudge, warn: notice }));
  if (settings.road.type === 'ipsec') ipsec.self();
  const agent = new Agent({
    settings,
    version: options.version,
    signal,
    clock: systemClock,
    log,
    logTail,
    events,
    metrics: openMetrics(settings.node.name),
    kernel: openKernel(
      (publicKey) => (publicKey === key?.publicKey ? key.privateKey : undefined),
      ipsec,
      tunnel,
    ),
    tunnel,
    tunnelKeys: () => secrets().publicKeys,
    wireguardKey,
    ipsec,
    store,
    keep,
    ledger: openLedger(`${settings.paths.run}/attachments.journal`),
  });
  tunnel.onChange = () => agent.host.requestResync();
  tunnel.onSecrets = () => agent.resync();
  ipsec.follow({ host: agent.host, resync: () => agent.resync() });
  await agent.run();
  store.close();
}

/** By the file that they stood in when this agent's predecessor accepted them. */
function lastGoodOf(keep: Keep | undefined): NonNullable<OpenOptions['lastGood']> {
  const byFile = Map.groupBy(keep?.entries() ?? [], ([, { source }]) => source);
  return (file) => byFile.get(file) ?? [];
}
