/**
 * The road that settings should name: by what is asked of it, by the kernel’s modules, and, where this was measured, by how
 * much of a bare path is left. Undefined: the profile’s own will do.
 */
import type { MeasuredRoad, Measurements } from '#model/measurement.ts';
import { nameOf, ratioOf } from '../measure/summary.ts';
import type { Answers } from './answers.ts';

export type RoadChoice = {
  /** The group `road` of a settings file; absent: the profile’s own. */
  readonly road?: Readonly<Record<string, unknown>>;
  readonly why: string;
};

export function roadFor(
  profile: string | undefined,
  answers: Answers,
  measured?: Measurements,
): RoadChoice | undefined {
  const { needs = [], prefer = [], lacks = [] } = answers;
  if (needs.includes('multicast')) return multicastRoad(answers);
  const encrypts = needs.includes('encryption');
  const prefersFast = prefer.some((word) => FAST.has(word));
  const fastest = encrypts || prefersFast ? fastestOf(measured, answers, encrypts) : undefined;
  if (fastest !== undefined) return fastest;
  if (encrypts) return encryptingRoad(lacks);
  return profile === 'kubenet' ? undefined : plainRoad(answers);
}

const FAST: ReadonlySet<string> = new Set(['throughput', 'encrypted-throughput']);

function plainRoad(answers: Answers): RoadChoice | undefined {
  const { prefer = [], lacks = [] } = answers;
  if (lacks.includes('vxlan')) return roadWithoutVxlan(answers);
  return prefer.some((word) => FAST.has(word) || word === 'no-encapsulation') ? NEAR : undefined;
}

const NEAR: RoadChoice = {
  road: { mode: 'CrossSubnet' },
  why: 'packets between neighbours need no encapsulation',
};

function multicastRoad({ policies = [], needs = [] }: Answers): RoadChoice {
  const others = [
    ...(policies.some((word) => word !== 'none') ? ['policies'] : []),
    ...(needs.includes('encryption') ? ['encryption'] : []),
  ];
  if (others.length === 0)
    return { road: { type: 'layer2' }, why: 'nodes share one Ethernet, which carries multicast' };
  return {
    why: `multicast asks for the road layer2, which leaves no room for ${others.join(' or ')}: these settings have no multicast`,
  };
}

function encryptingRoad(lacks: readonly string[]): RoadChoice {
  return lacks.includes('wireguard')
    ? {
        road: { type: 'udp', udp: { cipher: 'aes-256-gcm' } },
        why: 'it encrypts, and needs no WireGuard in the kernel',
      }
    : {
        road: { type: 'wireguard', mode: 'Always', wireguard: { strict: true } },
        why: 'it encrypts, and nothing passes in plain',
      };
}

function roadWithoutVxlan({ subnets }: Answers): RoadChoice {
  const why = 'the kernel lacks VXLAN';
  return subnets === 'one' ? { road: { type: 'host-gw' }, why } : { road: { type: 'udp' }, why };
}

/** With the most policies that were measured; plain routes only where nodes share a subnet. */
function fastestOf(
  measured: Measurements | undefined,
  { subnets }: Answers,
  encrypts: boolean,
): RoadChoice | undefined {
  const most = Math.max(...(measured?.roads ?? []).map(({ policies }) => policies));
  const usable = (measured?.roads ?? []).filter(
    ({ road, encrypted, policies }) =>
      policies === most && (!encrypts || encrypted) && (road !== 'host-gw' || subnets === 'one'),
  );
  const order = usable.map((one) => ({ one, left: tcpLeft(one) })).sort((a, b) => b.left - a.left);
  const [best, next] = order;
  if (measured === undefined || best === undefined) return undefined;
  const than = next === undefined ? '' : `, ${nameOf(next.one)} ${next.left.toFixed(2)}`;
  const why = `measured on Linux ${measured.host.kernel}, ${measured.at}: of a bare path’s TCP stream ${nameOf(best.one)} leaves ${best.left.toFixed(2)}${than}`;
  return { road: best.one.settings, why };
}

function tcpLeft({ series }: MeasuredRoad): number {
  const tcp = series.find(({ metric }) => metric === 'tcp');
  return tcp === undefined ? 0 : ratioOf(tcp).mean;
}
