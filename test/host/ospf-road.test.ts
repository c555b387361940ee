/** OSPF in the place of BGP, as romana has it: a lab of real agents on two subnets, and FRR on the router between them. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { startLab } from '../../src/lab/lab.ts';
import { routerNetns } from '../../src/lab/topology.ts';
import { assertAllReach, awaitRoutes, DEADLINE_MS, inRouter, startFrr } from './bgp-lab.ts';
import { waitFor, whyNoKernel } from './namespace.ts';
import { whyNoTartan } from './node.ts';

const skip = whyNoKernel(['bird', 'ip', 'ping', '/usr/lib/frr/ospfd']) ?? whyNoTartan() ?? false;

/** Of a daemon that speaks on both of the router's links. */
const OSPF = (words: string, router: string): string =>
  [
    ...['lan0', 'lan1'].flatMap((link) => [
      `interface ${link}`,
      ` ${words} area 0.0.0.0`,
      ` ${words} hello-interval 1`,
      ` ${words} dead-interval 4`,
    ]),
    ...router.split('\n'),
    '',
  ].join('\n');

test('OSPF, version 2 and 3, with FRR between the subnets', { skip }, async (t) => {
  const links = [{ name: 'eth0', cost: 10, helloSeconds: 1, deadSeconds: 4 }];
  const name = `rd-ospf-${process.pid}`;
  const starting = startLab({
    name,
    profile: 'calico',
    settings: {
      network: { ipv6: { range: 'fd77::/48' } },
      road: { mode: 'Never' },
      routing: { mesh: 'none', ospf: { area: '0.0.0.0', links } },
    },
    readyMs: DEADLINE_MS,
  });
  // Nodes are ready once they know the way to each other, and the router tells it.
  await waitFor('the router to be there', () => existsSync(`/run/netns/${routerNetns(name)}`));
  await waitFor('its links', () => /lan0(.|\n)*lan1/.test(inRouter({ name }, 'ip', '-o', 'link')));
  const frr = await startFrr(
    { name },
    {
      ospfd: OSPF('ip ospf', 'router ospf\n ospf router-id 192.168.10.1'),
      ospf6d: OSPF('ipv6 ospf6', 'router ospf6\n ospf6 router-id 192.168.10.1'),
    },
  );
  await using lab = await starting.catch((error: unknown) => {
    frr.stop();
    throw error;
  });
  try {
    for (const { name } of lab.nodes) await lab.addPod(name, `pod-${name}`);

    await t.test('the router and all nodes learn all pods, in both families', async () => {
      const atRouter = (): string[] =>
        ['-4', '-6'].flatMap((family) =>
          inRouter(lab, 'ip', family, 'route', 'show', 'proto', 'ospf')
            .split('\n')
            .filter((line) => /^(10\.244|fd77)/.test(line)),
        );
      await waitFor('six routes', () => atRouter().length === 6, DEADLINE_MS);
      for (const { name } of lab.nodes) {
        const { learned, sessions } = await awaitRoutes(
          lab,
          name,
          'to have four routes of pods',
          ({ learned }) =>
            learned.filter(({ prefix, used }) => used && /^(10\.244|fd77)/.test(prefix)).length === 4,
        );
        assert.deepEqual(
          sessions.map(({ protocol, up }) => [protocol, up]),
          [
            ['OSPF', true],
            ['OSPF', true],
          ],
        );
        assert.ok(
          learned.every(({ peer }) => /^ospf[46]$/.test(peer)),
          JSON.stringify(learned),
        );
      }
    });

    await t.test('every pod reaches every pod, across the router', () => assertAllReach(lab));
  } finally {
    frr.stop();
  }
});
