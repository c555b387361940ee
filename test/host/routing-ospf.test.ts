/** Two nodes that tell of their pods by OSPF, version 2 and 3, with authentication; romana's way. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { address } from '#net/address.ts';
import { planRouting } from '../../src/routing/plan.ts';
import { passwordSymbol, renderBird } from '../../src/routing/render.ts';
import { inputOf, SETTINGS } from '../../src/routing/testing/cluster.ts';
import { waitFor, whyNoKernel } from './namespace.ts';
import { learned, makeRoutingNet, type RoutingNet } from './routing-net.ts';

const skip = whyNoKernel(['bird', 'ip', 'nsenter']) ?? false;
const password = { kind: 'file', path: '/etc/tartan/ospf' } as const;
let net: RoutingNet;

function configure(number: number, secret: string): Promise<readonly unknown[]> {
  const link = { name: 'eth0', cost: 10, helloS: 1, deadS: 4, password };
  const ospf = { area: address('0.0.0.0'), links: [link] };
  const settings = { ...SETTINGS, mesh: 'none', ospf } as const;
  const { plan } = planRouting(inputOf({ self: `n${number}`, settings }));
  assert.ok(plan !== undefined);
  return net.speaker(number).bird.configure(renderBird(plan), new Map([[passwordSymbol(password), secret]]));
}

before(async () => {
  if (skip !== false) return;
  net = await makeRoutingNet(2);
});
after(async () => {
  if (skip === false) await net.close();
});

test(
  'pods of the other node are learned, in both families, once both have the same password',
  { skip },
  async () => {
    assert.deepEqual(await configure(1, 'one'), []);
    assert.deepEqual(await configure(2, 'another'), []);
    const { bird } = net.speaker(1);
    await waitFor(
      'OSPF to run',
      async () => (await bird.sessions()).filter(({ up }) => up).length === 2,
      60_000,
    );
    // Three hellos.
    await new Promise((resolve) => setTimeout(resolve, 3000));
    assert.deepEqual(learned(net.speaker(1), 4), []);
    assert.deepEqual(await configure(2, 'one'), []);
    await waitFor(
      'routes of both families',
      () => learned(net.speaker(1), 4).length + learned(net.speaker(1), 6).length === 2,
      60_000,
    );
    assert.deepEqual(learned(net.speaker(1), 4), ['10.77.2.0/24 via 192.168.1.2 metric 544']);
    assert.match(learned(net.speaker(1), 6).join(), /^fd77:0:0:2::\/64 via fe80:/);
  },
);
