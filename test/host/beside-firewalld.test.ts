/**
 * Beside firewalld (nftables backend): the first node accepts by itself, the second is told to leave others' chains
 * alone and does what `tartan doctor` says, word by word. And a table with an owner, in which nobody else can accept.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startBus } from '../runtimes/neighbours.ts';
import {
  DUAL,
  findingOf,
  type Place,
  reachBothWays,
  reaches,
  reachesHostPort,
  startPair,
  typeHint,
  whyNotBeside,
} from './beside.ts';
import { waitFor } from './namespace.ts';

const skip = whyNotBeside();

async function startFirewalld({ room }: Place): Promise<void> {
  await startBus(room);
  const daemon = room.start(['python3', '/usr/sbin/firewalld', '--nofork', '--nopid']);
  const rejects = async (): Promise<boolean> =>
    (await room.run(['nft', 'list', 'chain', 'inet', 'firewalld', 'filter_FORWARD'])).stdout.includes(
      'reject with icmpx',
    );
  await waitFor('firewalld’s rules', rejects, 60_000).catch((error: unknown) => {
    throw new Error(`${String(error)}\n${daemon.log()}`, { cause: error });
  });
}

test('beside firewalld', { skip }, async (t) => {
  await using pair = await startPair('fw', [DUAL, { ...DUAL, forward: { accept: false } }]);
  const [a, b] = pair.places;
  for (const { addresses } of pair.places) assert.equal(addresses.length, 2);

  await t.test('a node that accepts by itself needs nothing', async () => {
    await startFirewalld(a);
    await waitFor('pods to reach each other', () => reachBothWays([a, b]));
    await waitFor('the host port', () => reachesHostPort(b, a));
    for (const check of ['forward-drop', 'input-drop'])
      assert.match((await findingOf(a, check, 'info')).detail ?? '', /firewalld/);
  });

  await t.test('over a reload, which makes the table anew', async () => {
    const before = await a.room.must(['nft', '-a', 'list', 'table', 'inet', 'firewalld']);
    await a.room.must(['firewall-cmd', '--reload']);
    assert.notEqual(await a.room.must(['nft', '-a', 'list', 'table', 'inet', 'firewalld']), before);
    await waitFor('pods to reach each other', () => reachBothWays([a, b]));
  });

  await t.test('one that leaves it to the operator says what to type', async () => {
    await startFirewalld(b);
    assert.equal(await reaches(a, b), false, 'firewalld rejects the tunnel’s packets');
    const input = await findingOf(b, 'input-drop', 'error');
    assert.match(input.hint ?? '', /--add-port=8472\/udp/);
    await typeHint(b, input);
    const forward = await findingOf(b, 'forward-drop', 'error');
    assert.match(forward.hint ?? '', /--zone=trusted --add-source=10\.244\.0\.0\/16/);
    assert.equal(await reaches(a, b), false, 'firewalld rejects what is forwarded');
    await typeHint(b, forward);
    await waitFor('pods to reach each other', () => reachBothWays([a, b]));
  });

  await t.test('a table with an owner, as firewalld 2 makes it', async () => {
    const rules = `table inet owned { flags owner; chain forward { type filter hook forward priority 20; policy drop; }; }`;
    const owner = a.room.start(['sh', '-c', `{ echo '${rules}'; sleep 1000; } | nft -i`]);
    const refused = async (): Promise<boolean> =>
      (await a.node.run(['doctor'])).stdout.includes('accepts of ours are refused there');
    await waitFor('doctor to say it', refused, 20_000);
    const finding = await findingOf(a, 'forward-drop', 'error');
    assert.match(finding.title, /inet owned forward/);
    await owner.stop();
  });
});
