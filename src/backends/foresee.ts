/**
 * What a change of the road would meet and do, before anything is done: each node is planned from its advert, with the
 * settings of the one that asks. What only a node itself can know, as what its kernel lacks, it says in the first phase.
 */
import { fnv1a64 } from '#lib/hash.ts';
import { diff, type Step } from '#model/diff.ts';
import { type HostState, hostState } from '#model/host.ts';
import type { Way } from '#model/road.ts';
import { type RoadSpec, type RoadSwitch, SWITCH_PHASES, type SwitchPhase } from '#model/road-switch.ts';
import { showItem } from '#model/show.ts';
import type { NodeAdvert } from '#model/world.ts';
import type { Self } from './backend.ts';
import { chooseForPeer } from './choose.ts';
import { advertOf, checkRoad, planNode, planPeer } from './node-plan.ts';
import { waysDuring } from './switch.ts';

/** Links of other nodes are not told. */
const UNTOLD_LINK = 'UNDERLAY';

/**
 * In place of keys that a node makes only once it takes the road, others for each node. Whether nodes share a secret, they
 * find out in the first phase.
 */
function standIns(node: string): Pick<Self, 'wireguardKey' | 'tunnelKeys' | 'ipsec'> {
  const digits = fnv1a64(node).toString(16).padStart(16, '0');
  const key = `${digits.padStart(42, 'A')}A=`;
  const secrets = ['foreseen:0000000000000000'];
  const ipsec = { nonce: digits.padStart(22, 'A'), again: {}, secrets, announced: secrets };
  return { wireguardKey: key, tunnelKeys: [key], ipsec };
}

/** This node with all keys that a road may ask for. */
export function withKeys(self: Self): Self {
  return { ...standIns(self.name), ...self };
}

/** Another node as it would see itself, with our settings. */
export function foresee(self: Self, node: NodeAdvert): Self {
  return {
    ...standIns(node.name),
    name: node.name,
    subnets: node.subnets,
    settings: self.settings,
    ...(node.wireguard === undefined ? {} : { wireguardKey: node.wireguard.publicKey }),
    underlay: {
      link: UNTOLD_LINK,
      mtu: node.mtu,
      local: node.addresses,
      announced: node.addresses,
      connected: node.connected ?? [],
      why: 'told by its advert',
    },
  };
}

export type Obstacle = {
  readonly node: string;
  readonly peer?: string | undefined;
  readonly why: string;
};

/** Why the nodes, or those `among` them, could not do with this way alone; empty when they could. */
export function obstaclesOf(selves: readonly Self[], way: Way, among: readonly Self[] = selves): Obstacle[] {
  const taking = (self: Self): Self => ({ ...self, ways: [way] });
  const adverts = selves.map((self) => advertOf(taking(self), true));
  return among
    .map(taking)
    .flatMap((self) => [
      ...checkRoad(self).map(({ path, message }) => ({ node: self.name, why: `${path}: ${message}` })),
      ...adverts.flatMap((advert) =>
        chooseForPeer(self, advert).unreachable.map(({ peer, why }) => ({ node: self.name, peer, why })),
      ),
    ]);
}

export type PhaseSteps = { readonly phase: SwitchPhase; readonly steps: readonly string[] };

/** What one node does in each phase, in the words of ip, bridge and nft. */
export function stepsOf(
  self: Self,
  others: readonly Self[],
  change: RoadSwitch,
  wayOf: (spec: RoadSpec) => Way,
): PhaseSteps[] {
  const stateWith = (ways: readonly Way[]): HostState => {
    const taking: Self = { ...self, ways };
    const peers = others.map((other) => advertOf({ ...other, ways }, true));
    return hostState([...planNode(taking), ...peers.flatMap((peer) => planPeer(taking, peer).items)]);
  };
  let state = stateWith([wayOf(change.from)]);
  return SWITCH_PHASES.slice(0, -1).map((phase) => {
    const next = stateWith(waysDuring({ ...change, phase }, wayOf));
    const steps = diff(next, state).map(showStep);
    state = next;
    return { phase, steps };
  });
}

const SIGN = { add: '+', replace: '~', recreate: '~', remove: '-' } as const;

function showStep(step: Step): string {
  const [line = '', ...rest] = showItem(step.op === 'remove' ? step.was : step.item).split('\n');
  return `${SIGN[step.op]} ${line}${rest.length === 0 ? '' : ' … }'}`;
}
