/** A cluster that changes its road, with nodes that lag, die, come back and change their mind at any moment. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Way } from '#model/road.ts';
import type { RoadSpec, RoadSwitch, SwitchProgress } from '#model/road-switch.ts';
import type { NodeAdvert } from '#model/world.ts';
import { chooseForPeer } from './choose.ts';
import { foresee, obstaclesOf, stepsOf } from './foresee.ts';
import { advertOf } from './node-plan.ts';
import { advance, holdsOf, isSettled, turnBack, waysDuring } from './switch.ts';
import { keyOfNode, peerOf, selfOf } from './testing/nodes.ts';

const spec = (type: 'vxlan' | 'ipip' | 'gre' | 'host-gw' | 'wireguard'): RoadSpec => ({
  type,
  mode: 'Always',
});
const wayOf = ({ type, mode }: RoadSpec): Way => ({ roads: type === 'auto' ? [] : [type], mode });
const X = spec('vxlan');
const Y = spec('ipip');

/** A node of the model: what it has done is what its kernel holds, whether its agent lives or not. */
class Node {
  readonly self;
  ways: readonly Way[] = [wayOf(X)];
  progress: SwitchProgress | undefined;
  alive = true;
  /** Adverts as it planned with them. */
  known = new Map<string, NodeAdvert>();

  constructor(index: number) {
    const { name, addresses, subnets } = peerOf('vxlan', index);
    const own = selfOf('vxlan');
    this.self = {
      ...own,
      name,
      subnets,
      underlay: { ...own.underlay, local: addresses, announced: addresses },
    };
  }
  get name(): string {
    return this.self.name;
  }
  get advert(): NodeAdvert {
    const { progress } = this;
    return {
      ...advertOf({ ...this.self, ways: this.ways }, true),
      ...(progress === undefined ? {} : { progress }),
    };
  }
  /** One pass of its agent over what the store says. */
  pass(change: RoadSwitch | undefined, adverts: ReadonlyMap<string, NodeAdvert>): void {
    if (!this.alive) return;
    this.ways = change === undefined ? [wayOf(X)] : waysDuring(change, wayOf);
    this.known = new Map([...adverts].filter(([name]) => name !== this.name));
    if (change === undefined) return;
    const { generation, phase } = change;
    const lacks = [...this.known.values()].some((peer) => this.choose(peer).missing.length > 0);
    this.progress = { generation, phase, state: lacks ? 'waiting' : 'reached' };
  }
  choose(peer: NodeAdvert) {
    return chooseForPeer({ ...this.self, ways: this.ways }, peer);
  }
  takesFrom(peer: string): Set<string> {
    const known = this.known.get(peer);
    return new Set(known === undefined ? [] : this.choose(known).lanes.map(({ road }) => road));
  }
  sendsTo(peer: string): string[] {
    const known = this.known.get(peer);
    if (known === undefined) return [];
    return this.choose(known).lanes.flatMap(({ sends, road }) => (sends ? [road] : []));
  }
}

class Cluster {
  readonly nodes = [2, 3, 4].map((index) => new Node(index));
  change: RoadSwitch | undefined;
  adverts = new Map(this.nodes.map((node) => [node.name, node.advert]));

  constructor() {
    for (const node of this.nodes) this.pass(node);
  }
  pass(node: Node): void {
    node.pass(this.change, this.adverts);
    if (node.alive) this.adverts = new Map([...this.adverts, [node.name, node.advert]]);
  }
  goOn(): void {
    if (this.change !== undefined) this.change = advance(this.change, this.adverts.values()) ?? this.change;
  }
  begin(): void {
    this.change ??= { generation: 1, from: X, to: Y, phase: 'accept', without: [] };
  }
  back(): void {
    if (this.change !== undefined) this.change = turnBack(this.change);
  }
  /** Whatever a node sends by, the receiver's kernel takes in, by what both have done up to now. */
  check(): void {
    for (const from of this.nodes)
      for (const to of this.nodes.filter((node) => node !== from)) {
        const roads = from.sendsTo(to.name);
        assert.equal(roads.length, 2, `${from.name} reaches ${to.name} in both families`);
        for (const road of roads)
          assert.ok(to.takesFrom(from.name).has(road), `${from.name} sends ${road} to ${to.name}`);
      }
  }
  settle(): void {
    for (let round = 0; round < 12; round += 1) {
      for (const node of this.nodes) this.pass(node);
      this.goOn();
      this.check();
    }
  }
}

type Act = { readonly act: 'pass' | 'kill' | 'revive' | 'goOn' | 'back'; readonly node: number };
const anyAct: fc.Arbitrary<Act> = fc.record({
  act: fc.oneof(
    { weight: 14, arbitrary: fc.constant<Act['act']>('pass') },
    { weight: 5, arbitrary: fc.constant<Act['act']>('goOn') },
    { weight: 2, arbitrary: fc.constant<Act['act']>('revive') },
    { weight: 1, arbitrary: fc.constantFrom<Act['act']>('kill', 'back') },
  ),
  node: fc.integer({ min: 0, max: 2 }),
});

function perform(cluster: Cluster, { act, node: index }: Act): void {
  const node = cluster.nodes[index] as Node;
  if (act === 'pass') cluster.pass(node);
  else if (act === 'kill') node.alive = false;
  else if (act === 'revive') node.alive = true;
  else cluster[act]();
}

test('whoever lags, dies or turns round: nobody sends by a road that the other does not take', () => {
  fc.assert(
    fc.property(fc.array(anyAct, { size: 'max', maxLength: 120 }), (acts) => {
      const cluster = new Cluster();
      cluster.settle();
      cluster.begin();
      for (const act of acts) {
        perform(cluster, act);
        cluster.check();
      }
      for (const node of cluster.nodes) node.alive = true;
      cluster.settle();
      if (cluster.change !== undefined) {
        assert.equal(cluster.change.phase, 'done');
        const { type } = cluster.change.to;
        for (const node of cluster.nodes)
          assert.deepEqual(
            new Set(node.sendsTo((cluster.nodes.find((one) => one !== node) as Node).name)),
            new Set([type]),
          );
      }
    }),
    { numRuns: 40 },
  );
});

test('a node whose agent is away keeps the others, until they do without it', () => {
  const cluster = new Cluster();
  cluster.settle();
  (cluster.nodes[2] as Node).alive = false;
  cluster.begin();
  cluster.settle();
  const change = cluster.change as RoadSwitch;
  assert.equal(change.phase, 'accept');
  assert.deepEqual(
    holdsOf(change, cluster.adverts.values())
      .filter(({ why }) => why.includes('is it running'))
      .map(({ node }) => node),
    ['peer-4'],
  );
  const [ours, theirs] = [cluster.nodes[0]?.advert, { ...(cluster.nodes[1] as Node).advert }] as NodeAdvert[];
  assert.ok(ours !== undefined && theirs !== undefined);
  const { accepts: _, ...old } = theirs;
  assert.match(holdsOf(change, [old])[0]?.why ?? '', /version that cannot change roads/);
  const reached = [ours, theirs].map((advert) => ({
    ...advert,
    progress: { generation: 1, phase: 'accept', state: 'reached' } as const,
  }));
  assert.equal(
    advance({ ...change, without: ['peer-4'] }, [...reached, cluster.adverts.get('peer-4') as NodeAdvert])
      ?.phase,
    'move',
  );
});

test('what is settled is what all nodes’ settings say', () => {
  const change: RoadSwitch = { generation: 1, from: X, to: Y, phase: 'done', without: [] };
  const says = (configured: RoadSpec): NodeAdvert => ({ ...peerOf('ipip'), configured });
  assert.ok(isSettled(change, [says(Y), says(Y)]));
  assert.ok(!isSettled(change, [says(Y), says(X)]));
  assert.ok(!isSettled(change, [says(Y), peerOf('ipip')]));
  assert.ok(!isSettled({ ...change, phase: 'remove' }, [says(Y)]));
});

test('what stands against a road is known before anything is done', () => {
  const self = { ...selfOf('vxlan'), wireguardKey: keyOfNode('a') };
  const near = foresee(self, { ...peerOf('vxlan', 2), connected: self.underlay.connected });
  const far = foresee(self, { ...peerOf('vxlan', 3, false), connected: [] });
  assert.deepEqual(obstaclesOf([self, near], wayOf(spec('host-gw'))), []);
  const obstacles = obstaclesOf([self, near, far], wayOf(spec('host-gw')));
  assert.ok(obstacles.some(({ node, peer }) => node === 'a' && peer === 'peer-3'));
  assert.ok(
    obstacles.some(({ node, peer }) => node === 'peer-3' && peer === 'a'),
    'from both sides',
  );
  for (const road of ['ipip', 'gre', 'wireguard'] as const)
    assert.deepEqual(obstaclesOf([self, near, far], wayOf(spec(road))), []);
});

test('the steps of a node: made first, then routes, then what is left', () => {
  const self = selfOf('vxlan');
  const others = [foresee(self, peerOf('vxlan', 2))];
  const change: RoadSwitch = { generation: 1, from: X, to: Y, phase: 'accept', without: [] };
  const [accept, move, remove] = stepsOf(self, others, change, wayOf);
  const signs = (steps: readonly string[] | undefined): string =>
    ['+', '~', '-'].filter((sign) => steps?.some((step) => step.startsWith(sign))).join('');
  assert.equal(signs(accept?.steps), '+~');
  assert.ok(
    accept?.steps.some((step) => /^\+ ip link add tartan\w+ .*type ipip/.test(step)),
    accept?.steps.join('\n'),
  );
  assert.ok(
    move?.steps.every((step) => step.startsWith('~ ')),
    move?.steps.join('\n'),
  );
  assert.ok(move?.steps.some((step) => step.startsWith('~ ip route')));
  assert.ok(
    remove?.steps.some((step) => step.startsWith('- ip link add tartan.7')),
    remove?.steps.join('\n'),
  );
});
