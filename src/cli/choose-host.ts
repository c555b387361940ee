/**
 * What `tartan choose` need not ask, because this host shows it or its agent knows: as `tartan doctor` does, the agent is
 * asked first, and without one the host is looked at. Nothing of it is a must: what cannot be found out is asked.
 */
import { joinSeen, type Seen, seenInCluster, seenOnHost } from '#advisor/choose/seen.ts';
import type { HostFacts } from '#model/facts.ts';
import { toFault } from '#model/fault.ts';
import type { PolicySnapshot } from '#model/policy-snapshot.ts';
import { type Client, unlessAway } from './client.ts';
import { clientOf, configOf } from './options.ts';
import type { Doors } from './program.ts';
import { readSettings } from './settings-file.ts';

const NOTHING: Seen = { answers: {}, how: {} };

export async function lookAround(
  options: Record<string, unknown>,
  { facts }: Pick<Doors, 'facts'>,
): Promise<Seen> {
  try {
    const client = clientOf(options);
    const told = await client.call('facts').catch(unlessAway);
    if (told === undefined) return seenOnHost(await facts(readSettings(configOf(options)).settings));
    return joinSeen(seenOnHost(told as unknown as HostFacts), await askCluster(client));
  } catch (error) {
    console.error(`this host is not looked at: ${toFault(error).message}`);
    return NOTHING;
  }
}

async function askCluster(client: Client): Promise<Seen> {
  const status = await client.call('status');
  const snapshot = await client.call('policySnapshot').catch((): undefined => undefined);
  return seenInCluster({
    profile: status.profile,
    peers: status.peers.map(({ addresses }) => addresses),
    connected: status.underlay?.connected ?? [],
    pods: [new Set(status.pods.map(({ containerId }) => containerId)).size, ...podCounts(snapshot)],
    manifests: (snapshot?.manifests ?? []).flatMap(({ manifest }) => manifest ?? []),
  });
}

function podCounts(snapshot: PolicySnapshot | undefined): number[] {
  return (snapshot?.workloads ?? []).map(({ pods }) => pods.length);
}
