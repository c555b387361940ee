import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Established, Handshakes, type Identity, type Secrets } from './handshakes.ts';
import { generateKeyPair } from './keys.ts';

const [alice, bob, eve] = [generateKeyPair(), generateKeyPair(), generateKeyPair()];
const [oldWord, newWord] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
const identities: readonly Identity[] = [
  { name: 'alice', publicKeys: [alice.publicKey] },
  { name: 'bob', publicKeys: [bob.publicKey] },
];

function side(node: string, secrets: Secrets, peers: readonly Identity[] = identities): Handshakes {
  const made = new Handshakes(node, 'aes-256-gcm', secrets);
  made.setPeers(peers.filter(({ name }) => name !== node));
  return made;
}

/** Both ends of the session that alice's try number `attempt` makes. */
function shake(
  from: Handshakes,
  to: Handshakes,
  attempt = 0,
): readonly [Established, Established] | undefined {
  const initiation = from.initiate('bob', 7, attempt);
  assert.ok(initiation !== undefined);
  const answer = to.respond(initiation.message, 9);
  if (answer === undefined) return undefined;
  assert.ok(answer.message.length <= initiation.message.length, 'an answer is not larger: no amplifier');
  const session = initiation.finish(answer.message);
  return session === undefined ? undefined : [session, answer.session];
}

const SECRETS: Readonly<Record<string, readonly [Secrets, Secrets]>> = {
  'a key per node': [
    { mode: 'keys', own: [alice] },
    { mode: 'keys', own: [bob] },
  ],
  'a password': [
    { mode: 'password', keys: [oldWord] },
    { mode: 'password', keys: [oldWord] },
  ],
};

for (const [what, [mine, yours]] of Object.entries(SECRETS)) {
  test(`${what}: both ends have the same keys, crossed, and know each other's number and name`, () => {
    const made = shake(side('alice', mine), side('bob', yours));
    assert.ok(made !== undefined);
    const [here, there] = made;
    assert.deepEqual(here.keys.send, there.keys.receive);
    assert.deepEqual(here.keys.receive, there.keys.send);
    assert.notDeepEqual(here.keys.send, here.keys.receive);
    assert.deepEqual([here.peer, here.local, here.remote], ['bob', 7, 9]);
    assert.deepEqual([there.peer, there.local, there.remote], ['alice', 9, 7]);
  });

  test(`${what}: a bit flipped anywhere in either message makes no session`, () => {
    const [from, to] = [side('alice', mine), side('bob', yours)];
    const initiation = from.initiate('bob', 7, 0);
    assert.ok(initiation !== undefined);
    const bent = (message: Buffer, at: number): Buffer => {
      const copy = Buffer.from(message);
      copy[at] = (copy[at] ?? 0) ^ 4;
      return copy;
    };
    for (let at = 0; at < initiation.message.length; at += 1)
      assert.equal(to.respond(bent(initiation.message, at), 9), undefined, `initiation, byte ${at}`);
    for (const at of [0, 4, 8, 12, 20, 50]) {
      const again = from.initiate('bob', 7, 0);
      const answer = again === undefined ? undefined : to.respond(again.message, 9);
      assert.ok(answer !== undefined && again !== undefined);
      assert.equal(again.finish(bent(answer.message, at)), undefined, `response, byte ${at}`);
    }
  });

  test(`${what}: who is not a peer, or meant somebody else, gets no answer`, () => {
    const from = side('alice', mine);
    assert.equal(shake(from, side('bob', yours, [])), undefined);
    assert.equal(shake(from, side('carol', yours)), undefined);
  });
}

test('another key, another password: silence, and the MAC says so before any curve is computed', () => {
  const keyed = side('alice', { mode: 'keys', own: [eve] });
  assert.equal(shake(keyed, side('bob', { mode: 'keys', own: [bob] })), undefined);
  const worded = side('alice', { mode: 'password', keys: [newWord] });
  const bobs = side('bob', { mode: 'password', keys: [oldWord] });
  assert.equal(shake(worded, bobs), undefined);
  assert.equal(bobs.isForMe(worded.initiate('bob', 1, 0)?.message ?? Buffer.alloc(0)), false);
  assert.equal(bobs.isForMe(Buffer.alloc(100)), false);
});

test('a known node cannot give itself for another', () => {
  const peers = [...identities, { name: 'eve', publicKeys: [eve.publicKey] }];
  const asAlice = side('alice', { mode: 'keys', own: [eve] }, peers);
  assert.equal(shake(asAlice, side('bob', { mode: 'keys', own: [bob] }, peers)), undefined);
});

test('secrets rotate: at each step of every order some try within the first four works', () => {
  const next = generateKeyPair();
  const rotating = [{ name: 'alice', publicKeys: [next.publicKey, alice.publicKey] }, ...identities.slice(1)];
  const works = (from: Handshakes, to: Handshakes): boolean =>
    [0, 1, 2, 3].some((attempt) => shake(from, to, attempt) !== undefined);
  // Alice has a new key that bob has not heard of; then he has; then she drops the old one.
  const bobs = (peers: readonly Identity[]): Handshakes => side('bob', { mode: 'keys', own: [bob] }, peers);
  const both: Secrets = { mode: 'keys', own: [next, alice] };
  assert.ok(works(side('alice', both), bobs(identities)));
  assert.ok(works(side('alice', both), bobs(rotating)));
  assert.ok(works(side('alice', { mode: 'keys', own: [next] }), bobs(rotating)));
  const words = (...keys: Buffer[]): Secrets => ({ mode: 'password', keys });
  for (const [a, b] of [
    [words(oldWord, newWord), words(oldWord)],
    [words(newWord, oldWord), words(oldWord)],
    [words(newWord, oldWord), words(newWord)],
    [words(newWord), words(oldWord, newWord)],
  ] as const) {
    assert.ok(works(side('alice', a), side('bob', b)));
    assert.ok(works(side('alice', b), side('bob', a)));
  }
});

test('a withdrawn secret or peer ends what was made with it', () => {
  const from = side('alice', { mode: 'keys', own: [alice] });
  const made = shake(from, side('bob', { mode: 'keys', own: [bob] }));
  assert.ok(made !== undefined && from.isValid('bob', made[0].madeWith));
  from.secrets = { mode: 'keys', own: [generateKeyPair()] };
  assert.ok(!from.isValid('bob', made[0].madeWith));
  from.secrets = { mode: 'keys', own: [alice] };
  from.setPeers([{ name: 'bob', publicKeys: [eve.publicKey] }]);
  assert.ok(!from.isValid('bob', made[0].madeWith));
});
