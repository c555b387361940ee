/** Handshakes, rotation, roaming and restarts between nodes on a network that loses, by the clock of the test. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Cluster, ClusterNode, endpointOf } from './testing/cluster.ts';
import type { Link } from './link.ts';
import type { SessionTimes } from './sessions.ts';

const FAST: Partial<SessionTimes> = { rekeyMs: 5000, rejectMs: 15_000 };

function pair(times: Partial<SessionTimes> = {}): { cluster: Cluster; one: ClusterNode; two: ClusterNode } {
  const cluster = new Cluster(times);
  const [one, two] = [new ClusterNode(cluster, 'one', 1), new ClusterNode(cluster, 'two', 2)];
  one.control.setPeers([two.peer(2)]);
  two.control.setPeers([one.peer(1)]);
  return { cluster, one, two };
}

const exchange =
  (...nodes: readonly ClusterNode[]) =>
  (): void => {
    for (const node of nodes) node.sendPackets();
  };

test('two nodes find each other without any traffic, and the path is proven', () => {
  const { cluster, one, two } = pair();
  cluster.run(1000);
  for (const { control } of [one, two])
    for (const link of control.links) {
      assert.ok(link.sessions.current !== undefined);
      assert.equal(link.path?.phase, 'complete');
    }
  assert.ok(one.events.length + two.events.length <= 4, 'only one of them began');
});

test('property: keys rotate under loss, and no packet that arrives is ever refused or without a session', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 30 }), fc.integer(), (percent, seed) => {
      let state = seed;
      const dice = (): number => ((state = (Math.imul(state, 1_103_515_245) + 12_345) | 0) >>> 16) % 100;
      const { cluster, one, two } = pair(FAST);
      cluster.run(1000);
      cluster.lose = () => dice() < percent;
      one.stuck = two.stuck = 0;
      cluster.run(60_000, exchange(one, two));
      for (const node of [one, two]) {
        assert.equal(node.refused, 0, `${node.name} refused`);
        assert.equal(node.stuck, 0, `${node.name} had no session`);
        assert.ok(node.accepted > 700, `${node.name} accepted ${node.accepted}`);
        assert.ok(node.sessions <= 7, `${node.name} holds ${node.sessions} sessions`);
      }
      const made = one.events.filter(({ event }) => event === 'session').length;
      assert.ok(made >= 9, `${made} sessions in a minute of rotation every five seconds`);
    }),
    { numRuns: 12 },
  );
});

test('a side that forgot everything is heard again within a second', () => {
  const { cluster, one, two } = pair();
  cluster.run(5000, exchange(one, two));
  const again = new ClusterNode(cluster, 'one', 1, { secrets: { mode: 'keys', own: [one.keys] } });
  again.control.setPeers([two.peer(2)]);
  cluster.run(1000, exchange(again, two));
  const [before, beforeTwo] = [again.accepted, two.accepted];
  cluster.run(1000, exchange(again, two));
  assert.equal(again.accepted - before, 20);
  assert.equal(two.accepted - beforeTwo, 20);
});

test('a side that forgot everything asks at once who still sends to it, also when the first try is the other’s', () => {
  const { cluster, one, two } = pair();
  cluster.run(5000, exchange(one, two));
  const again = new ClusterNode(cluster, 'two', 2, { before: two });
  again.control.setPeers([one.peer(1)]);
  cluster.run(120, exchange(one));
  assert.ok(
    again.accepted > 0,
    'its name is the later: alone it would leave the first try to the other for a while',
  );
});

test('a peer that moves is followed at its next packet, and one that was cut off comes back', () => {
  const { cluster, one, two } = pair();
  cluster.run(2000, exchange(one, two));
  one.endpoint = endpointOf(9);
  cluster.run(100, exchange(one, two));
  const before = one.accepted;
  cluster.run(1000, exchange(one, two));
  assert.equal(one.accepted - before, 20);
  assert.ok(two.events.some((event) => event.event === 'moved' && event.to.address === '192.168.0.9'));
  cluster.lose = () => true;
  cluster.run(400_000, exchange(one, two));
  cluster.lose = () => false;
  cluster.run(12_000, exchange(one, two));
  const [after, afterTwo] = [one.accepted, two.accepted];
  cluster.run(1000, exchange(one, two));
  assert.equal(one.accepted - after, 20, 'two knows where one was last, and where it was configured');
  assert.equal(two.accepted - afterTwo, 20);
});

test('recorded handshakes, sent again and again from anywhere, change nothing and take no room', () => {
  const { cluster, one, two } = pair();
  cluster.run(2000, exchange(one, two));
  const before = [...two.control.links].map(({ sessions, endpoint }) => [sessions.current?.local, endpoint]);
  const recorded = [...cluster.recorded];
  assert.ok(recorded.length >= 2);
  cluster.run(5000, () => {
    exchange(one, two)();
    for (const message of recorded) cluster.replay({ ...message, from: endpointOf(66) });
  });
  const after = [...two.control.links].map(({ sessions, endpoint }) => [sessions.current?.local, endpoint]);
  assert.deepEqual(after, before);
  assert.equal(one.refused + two.refused, 0);
  assert.ok(two.sessions <= 7, `${two.sessions} sessions`);
});

test('who is taken from the list is forgotten at once, keys and all', () => {
  const { cluster, one, two } = pair();
  cluster.run(2000, exchange(one, two));
  two.control.setPeers([]);
  assert.equal(two.sessions, 0);
  const accepted = two.accepted;
  cluster.run(2000, exchange(one));
  assert.equal(two.accepted, accepted);
});

test('a password rotates over all nodes in turn without a refused packet', () => {
  const cluster = new Cluster(FAST);
  const words = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)] as const;
  const nodes = [1, 2, 3].map(
    (number) =>
      new ClusterNode(cluster, `node${number}`, number, { secrets: { mode: 'password', keys: [words[0]] } }),
  );
  for (const node of nodes)
    node.control.setPeers(
      nodes.filter((other) => other !== node).map((other) => other.peer(nodes.indexOf(other) + 1)),
    );
  cluster.run(1500);
  for (const node of nodes) node.stuck = 0;
  for (const keys of [[...words], words.toReversed(), [words[1]]])
    for (const node of nodes) {
      node.control.setSecrets({ mode: 'password', keys });
      cluster.run(8000, exchange(...nodes));
    }
  for (const { name, refused, stuck, accepted } of nodes) {
    assert.equal(refused, 0, `${name} refused`);
    assert.equal(stuck, 0, `${name} was stuck`);
    assert.ok(accepted > 2500);
  }
});

test('a session that was left for another never sends again, whatever becomes of the other', () => {
  const cluster = new Cluster(FAST);
  const words = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)] as const;
  const password = (...keys: Buffer[]) => ({ mode: 'password', keys }) as const;
  const one = new ClusterNode(cluster, 'one', 1, { secrets: password(words[0]) });
  const two = new ClusterNode(cluster, 'two', 2, { secrets: password(words[0], words[1]) });
  one.control.setPeers([two.peer(2)]);
  two.control.setPeers([one.peer(1)]);
  const sending = (): number | undefined => [...one.control.links][0]?.sessions.current?.local;
  cluster.run(2000, exchange(one, two));
  const first = sending();
  // The next session is made with the other word, and then that word is taken away while the first session still holds.
  one.control.setSecrets(password(words[1], words[0]));
  cluster.run(5000, exchange(one, two));
  assert.notEqual(sending(), first);
  const before = one.accepted;
  for (const node of [one, two]) node.control.setSecrets(password(words[0]));
  assert.notEqual(sending(), first);
  // ClusterNode throws when a counter comes twice.
  cluster.run(3000, exchange(one, two));
  assert.ok(one.accepted - before > 40);
});

test('newer secrets that nobody answers to yet are tried again; older ones make no session in their place', () => {
  const cluster = new Cluster();
  const [old, fresh] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
  const password = (...keys: Buffer[]) => ({ mode: 'password', keys }) as const;
  const one = new ClusterNode(cluster, 'one', 1, { secrets: password(old) });
  const two = new ClusterNode(cluster, 'two', 2, { secrets: password(old) });
  one.control.setPeers([two.peer(2)]);
  two.control.setPeers([one.peer(1)]);
  cluster.run(2000, exchange(one, two));
  for (const node of [one, two]) node.control.setSecrets(password(fresh, old));
  const links = (): readonly Link[] => [one, two].flatMap(({ control }) => [...control.links]);
  const first = links()[0]?.sessions.current?.madeWith.own;
  // From when the sessions are due to be followed until several tries are over.
  for (const ms of [7000, 600, 600, 600, 600, 600, 1500, 1500]) {
    cluster.lose = () => ms < 7000;
    cluster.run(ms, exchange(one, two));
  }
  cluster.lose = () => false;
  cluster.run(12_000, exchange(one, two));
  for (const { sessions } of links()) {
    assert.notEqual(sessions.current?.madeWith.own, first);
    assert.equal(
      sessions.all.filter(({ madeWith, bornAt }) => madeWith.own === first && bornAt > 2000).length,
      0,
    );
  }
});

test('property: a successor goes on with what was left to it: sessions, counters and paths, with nothing refused', () => {
  fc.assert(
    fc.property(fc.integer({ min: 500, max: 9000 }), fc.integer({ min: 1, max: 3 }), (ms, times) => {
      const { cluster, one, two } = pair(FAST);
      cluster.run(ms, exchange(one, two));
      two.refused = two.stuck = one.stuck = 0;
      let node = one;
      for (let turn = 0; turn < times; turn += 1) {
        const local = [...node.control.links].map(({ sessions }) => sessions.current?.local);
        const legacy = node.control.legacy(new Map());
        node = new ClusterNode(cluster, 'one', 1, { before: node });
        node.control.inherit(legacy);
        node.control.setPeers([two.peer(2)]);
        assert.deepEqual(
          [...node.control.links].map(({ sessions }) => sessions.current?.local),
          local,
        );
        const accepted = node.accepted;
        // At once, and until the session it began with has had its time.
        cluster.run(20, exchange(node, two));
        cluster.run(turn * 2000, exchange(node, two));
        assert.ok(turn === 0 || node.accepted > accepted);
      }
      cluster.run(20_000, exchange(node, two));
      assert.deepEqual([node.refused, node.stuck, two.refused, two.stuck], [0, 0, 0, 0]);
      assert.ok(node.accepted > 350);
    }),
    { numRuns: 20 },
  );
});
