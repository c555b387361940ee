/** The agent's answers about the road: what it is, what a change would meet and do, and the change itself. */
import type { Agent } from '../agent.ts';
import type { ForeseenAnswer, RoadAnswer, roadRequestSchema } from '#api/road.ts';
import { foresee, type Obstacle, obstaclesOf, stepsOf, withKeys } from '#backends/foresee.ts';
import { holdsOf, turnBack } from '#backends/switch.ts';
import { acceptedBy } from '#backends/ways.ts';
import { Fault } from '#model/fault.ts';
import { type RoadSwitch, sameSpec } from '#model/road-switch.ts';
import type { z } from 'zod';

type Request = z.output<typeof roadRequestSchema>;

/** In larger clusters only what concerns this node is foreseen: the others find out in the first phase. */
const FORESEEN_NODES = 200;
/** Steps of so many nodes are told. */
const TOLD_NODES = 20;

export function describeRoad(agent: Agent): RoadAnswer {
  const nodes = agent
    .adverts()
    .map((node) => ({ name: node.name, sends: node.road, accepts: [...acceptedBy(node)] }));
  return { ...summarizeRoad(agent), nodes };
}

export function summarizeRoad(agent: Agent): Omit<RoadAnswer, 'nodes'> {
  const { change, present, configured } = agent.switching;
  return {
    road: present,
    ...(sameSpec(present, configured) ? {} : { configured }),
    ...(change === undefined ? {} : { change: { ...change, without: [...change.without] } }),
    holds: change === undefined || change.phase === 'done' ? [] : holdsOf(change, agent.adverts()),
  };
}

/** Begins, turns round, or lets go on without some nodes. Throws Fault `switch-refused`. */
export async function changeRoad(agent: Agent, request: Request): Promise<RoadAnswer> {
  const { switching } = agent;
  const { to, back, without } = request;
  const unknown = without.filter((name) => !agent.adverts().some((node) => node.name === name));
  if (unknown.length > 0) throw new Fault('request-invalid', `there is no node ${unknown.join(', ')}`);
  if (back) await switching.back(without);
  else if (to === undefined) await switching.leaveOut(without);
  else {
    const obstacles = foreseeRoad(agent, request).obstacles;
    if (obstacles.length > 0) throw refused(obstacles);
    await switching.begin(to, without);
  }
  return describeRoad(agent);
}

function refused(obstacles: readonly Obstacle[]): Fault {
  return new Fault('switch-refused', 'not all nodes could do with that road; nothing was changed', {
    problems: obstacles.map(({ node, peer, why }) => ({
      path: peer === undefined ? node : `${node} to ${peer}`,
      message: why,
    })),
  });
}

export function foreseeRoad(agent: Agent, request: Request): ForeseenAnswer {
  const { switching, cluster } = agent;
  const change = changeOf(agent, request);
  const { self } = cluster;
  if (self === undefined) throw new Fault('node-unavailable', 'this node does not know its own place yet');
  const others = [...cluster.adverts.values()].filter(({ name }) => !change.without.includes(name));
  const untold = others.filter(({ accepts }) => accepts === undefined);
  const own = withKeys(self);
  const selves = [own, ...others.map((node) => foresee(self, node))];
  const isLarge = selves.length > FORESEEN_NODES;
  const to = switching.wayOf(change.to);
  const obstacles = [
    ...untold.map(({ name }) => ({
      node: name,
      why: 'its agent cannot change roads: it is of an earlier release, or flannel’s',
    })),
    ...(untold.length > 0 ? [] : obstaclesOf(selves, to, isLarge ? [own] : selves)),
  ];
  return {
    from: change.from,
    to: change.to,
    obstacles,
    nodes: selves.slice(0, isLarge ? 1 : TOLD_NODES).map((one) => ({
      name: one.name,
      phases: stepsOf(
        one,
        selves.filter((other) => other !== one),
        change,
        switching.wayOf,
      ).map(({ phase, steps }) => ({ phase, steps: [...steps] })),
    })),
  };
}

/** The change as it would be begun. */
function changeOf({ switching }: Agent, { to, back, without }: Request): RoadSwitch {
  const { change, present } = switching;
  if (back && change !== undefined) return turnBack(change);
  if (to === undefined) throw new Fault('request-invalid', 'no road is named');
  return { generation: 0, from: present, to, phase: 'accept', without };
}
