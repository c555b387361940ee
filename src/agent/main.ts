/** Starts and stops the agent of one node. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Agent } from './agent.ts';
import { LogTail, openEvents, openLog } from '#lib/log.ts';
import { keepBridge } from './pods/bridge.ts';
import { openIpsecKeys } from './roads/ipsec-keys.ts';
import { IpsecRoad } from './roads/ipsec-road.ts';
import { takeOverFlannel } from './migration/take-over.ts';
import { openMetrics } from './metrics.ts';
import { nodeApiOf } from './kubernetes/node-api.ts';
import { type AgentParts, openFeeds } from './parts.ts';
import { openTunnelRoad } from './roads/tunnel-road.ts';
import { openTunnelSecrets } from './roads/tunnel-secrets.ts';
import { openWireguardKey, type WireguardKey } from './roads/wireguard-key.ts';
import { systemClock } from '#lib/clock.ts';
import { openKernel } from '#kernel/linux.ts';
import { ready as poolWarm } from '#kernel/netns.ts';
import { lookAtLinks } from '#kernel/take-over.ts';
import { Fault } from '#model/fault.ts';
import type { Settings } from '#model/settings.ts';
import { type Keep, openKeep } from '#stores/last-good.ts';
import { openLedger } from '#stores/ledger.ts';
import { type OpenOptions, openStore, withRelays } from '#stores/open.ts';

export type RunOptions = {
  readonly version: string;
  /** Aborts: stop serving and return; the data plane stays as it is. */
  readonly signal: AbortSignal;
};

/** Runs until the signal aborts. Throws a Fault when the agent cannot start. */
export async function runAgent(written: Settings, options: RunOptions): Promise<void> {
  if (process.geteuid?.() !== 0)
    throw new Fault('no-root', 'the agent configures the network and must run as root');
  await poolWarm;
  for (const path of [written.paths.run, written.paths.state])
    mkdirSync(path, { recursive: true, mode: 0o700 });
  const ledger = openLedger(`${written.paths.run}/attachments.journal`);
  const settings = keepBridge(written, ledger, lookAtLinks);
  const keep = settings.policy.enforce ? openKeep(join(settings.paths.state, 'policies.journal')) : undefined;
  const logTail = new LogTail();
  const log = openLog(settings.log.level, settings.node.name, logTail);
  const events = openEvents(log);
  const notice = (text: string): void => events.add('warning', text);
  const opened = await openStore(settings.store, {
    lastGood: lastGoodOf(keep),
    notice,
    node: settings.node.name,
  });
  const nodeApi = await nodeApiOf(opened, settings);
  const store = await withRelays(opened, settings.store, (text) => events.add('info', text));
  const base = { settings, clock: systemClock, log, signal: options.signal, events, store, nodeApi };
  if (settings !== written)
    events.add(
      'info',
      `pods are on the bridge ${settings.wiring.bridge.name}, which keeps its name until they are gone`,
    );
  for (const what of takeOverFlannel({ settings, ledger })) events.add('info', `taken over: ${what}`);
  const roads = await openRoads(base);
  const agent = new Agent({
    ...base,
    ...roads.parts,
    ...openFeeds(base),
    version: options.version,
    logTail,
    metrics: openMetrics(settings.node.name),
    keep,
    ledger,
  });
  roads.follow(agent);
  await agent.run();
  store.close();
}

type Base = Pick<AgentParts, 'settings' | 'clock' | 'log' | 'signal' | 'events'>;
type RoadParts = Pick<AgentParts, 'kernel' | 'tunnel' | 'tunnelKeys' | 'wireguardKey' | 'ipsec'>;

/** The kernel, and the keys of the roads through it: made now where the road of the settings needs them, else when one is taken. */
async function openRoads(base: Base): Promise<{ parts: RoadParts; follow: (agent: Agent) => void }> {
  const { settings, events } = base;
  const { type } = settings.road;
  let key: WireguardKey | undefined;
  const wireguardKey = (): string => (key ??= openWireguardKey(settings.paths.state)).publicKey;
  if (type === 'wireguard') wireguardKey();
  const secrets = openTunnelSecrets(settings);
  if (type === 'udp') secrets();
  const tunnel = await openTunnelRoad({ ...base, directory: settings.paths.run, secrets });
  const warn = (text: string): void => events.add('warning', text);
  const ipsec = new IpsecRoad((nudge) => openIpsecKeys(settings, { nudge, warn }));
  if (type === 'ipsec') ipsec.self();
  const privateKeyOf = (publicKey: string): Uint8Array | undefined =>
    publicKey === key?.publicKey ? key.privateKey : undefined;
  const kernel = openKernel(privateKeyOf, ipsec, tunnel);
  const follow = (agent: Agent): void => {
    tunnel.onChange = () => agent.host.requestResync();
    tunnel.onCarried = () => agent.switching.suspect();
    tunnel.onSecrets = () => agent.resync();
    ipsec.follow({ host: agent.host, resync: () => agent.resync() });
  };
  return {
    parts: { kernel, tunnel, tunnelKeys: () => secrets().publicKeys, wireguardKey, ipsec },
    follow,
  };
}

/** By the file that they stood in when this agent's predecessor accepted them. */
function lastGoodOf(keep: Keep | undefined): NonNullable<OpenOptions['lastGood']> {
  const byFile = Map.groupBy(keep?.entries() ?? [], ([, { source }]) => source);
  return (file) => byFile.get(file) ?? [];
}
