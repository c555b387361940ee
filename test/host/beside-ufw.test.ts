/**
 * Beside ufw and iptables of both kinds: the first node accepts by itself, the second is told to leave others' chains
 * alone (`forward.accept: false`) and does what `tartan doctor` says, word by word.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
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

const ENABLE = `mkdir -p /etc/ufw
cp /usr/share/ufw/iptables/*.rules /usr/share/ufw/ufw.conf /etc/ufw/
ufw default deny incoming && ufw default deny routed && ufw --force enable`;

const enable = (place: Place): Promise<string> => place.room.must(['sh', '-ec', ENABLE]);

test('beside ufw', { skip }, async (t) => {
  await using pair = await startPair('uf', [DUAL, { ...DUAL, forward: { accept: false } }]);
  const [a, b] = pair.places;
  for (const { addresses } of pair.places) assert.equal(addresses.length, 2);

  await t.test('a node that accepts by itself needs nothing', async () => {
    await enable(a);
    await waitFor('pods to reach each other', () => reachBothWays([a, b]));
    await waitFor('the host port', () => reachesHostPort(b, a));
    assert.match((await findingOf(a, 'forward-drop', 'info')).detail ?? '', /ufw/);
    await findingOf(a, 'input-drop', 'info');
    assert.match(await a.room.must(['iptables', '-S', 'INPUT']), /--dport 8472/, 'iptables reads our rule');
  });

  await t.test('over a reload and disabling too', async () => {
    await a.room.must(['ufw', 'reload']);
    await waitFor('pods to reach each other', () => reachBothWays([a, b]));
    await a.room.must(['ufw', 'disable']);
    const left = async (): Promise<string> => a.room.must(['nft', 'list', 'table', 'ip', 'filter']);
    await waitFor('no rule of ours left', async () => !(await left()).includes('tartan:'));
    assert.ok(await reachBothWays([a, b]));
  });

  await t.test('one that leaves it to the operator says what to type', async () => {
    await enable(b);
    assert.equal(await reaches(a, b), false, 'ufw drops the tunnel’s packets');
    const input = await findingOf(b, 'input-drop', 'error');
    assert.match(input.hint ?? '', /^ufw allow proto udp from 172\.30\.0\.0\/24 to any port 8472$/);
    await typeHint(b, input);
    const forward = await findingOf(b, 'forward-drop', 'error');
    assert.match(forward.hint ?? '', /ufw route allow from 10\.244\.0\.0\/16/);
    assert.equal(await reaches(a, b), false, 'ufw drops what is forwarded');
    await typeHint(b, forward);
    await waitFor('pods to reach each other', () => reachBothWays([a, b]));
    await b.room.must(['ufw', 'disable']);
  });

  await t.test('legacy iptables, which no nftables rule reaches', async (t) => {
    const tried = await a.room.run(['iptables-legacy', '-P', 'FORWARD', 'DROP']);
    if (tried.code !== 0) return t.skip(`no legacy iptables in this kernel: ${tried.stderr.trim()}`);
    await a.room.must(['iptables-legacy', '-P', 'INPUT', 'DROP']);
    assert.equal(await reaches(b, a), false);
    for (const hook of ['FORWARD', 'INPUT']) {
      const finding = await findingOf(a, 'legacy-iptables', 'error');
      assert.match(finding.title, /^iptables-legacy (?:INPUT|FORWARD) drops/, hook);
      await typeHint(a, finding);
    }
    await waitFor('pods to reach each other', () => reachBothWays([a, b]));
    await findingOf(a, 'legacy-iptables', 'info');
  });
});
