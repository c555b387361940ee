/** Three nodes in a full mesh, with the real BIRD: what is learned, what stays when daemons die or configurations are wrong. */
import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { systemClock } from '#lib/clock.ts';
import { openBird } from '../../src/bird/bird.ts';
import { planRouting, type Tunnel } from '../../src/routing/plan.ts';
import { passwordSymbol, renderBird } from '../../src/routing/render.ts';
import { inputOf, SETTINGS } from '../../src/routing/testing/cluster.ts';
import { address } from '#net/address.ts';
import { waitFor, whyNoKernel } from './namespace.ts';
import { learned, lostWhile, makeRoutingNet, type RoutingNet } from './routing-net.ts';

const skip = whyNoKernel(['bird', 'ip', 'nsenter', 'ping']) ?? false;
const SECRET = { kind: 'secret', name: 'bgp', key: 'mesh' } as const;
const PASSWORD = 'correct horse $battery';

function configOf(number: number, tunnels: readonly Tunnel[] = []): string {
  const settings = { ...SETTINGS, meshPassword: SECRET };
  const { plan, problems } = planRouting(inputOf({ self: `n${number}`, settings, tunnels }));
  assert.deepEqual(problems, []);
  assert.ok(plan !== undefined);
  return renderBird(plan);
}

const PASSWORDS = new Map([[passwordSymbol(SECRET), PASSWORD]]);

const ROUTES = {
  4: ['10.77.2.0/24 via 192.168.1.2 metric 544', '10.77.3.0/24 via 192.168.1.3 metric 544'],
  6: ['fd77:0:0:2::/64 via fd00::2 metric 544', 'fd77:0:0:3::/64 via fd00::3 metric 544'],
} as const;

let net: RoutingNet;

before(async () => {
  if (skip !== false) return;
  net = await makeRoutingNet(3);
  for (const number of [1, 2, 3])
    assert.deepEqual(await net.speaker(number).bird.configure(configOf(number), PASSWORDS), []);
});
after(async () => {
  if (skip === false) await net.close();
});

async function routesCome(): Promise<void> {
  for (const family of [4, 6] as const)
    await waitFor(
      `routes of family ${family}`,
      () => learned(net.speaker(1), family).join() === ROUTES[family].join(),
      60_000,
    );
}

test('the mesh comes up in both families, and routes to all pods are in the kernel', { skip }, async () => {
  const sessions = await net.established(1, 4);
  assert.deepEqual([...sessions.keys()].sort(), [
    'mesh4_192_168_1_2',
    'mesh4_192_168_1_3',
    'mesh6_fd00__2',
    'mesh6_fd00__3',
  ]);
  await routesCome();
  const session = (await net.speaker(1).bird.sessions()).find(({ name }) => name === 'mesh4_192_168_1_2');
  assert.equal(session?.state, 'Established');
  assert.equal(session?.neighbour, '192.168.1.2');
  assert.equal(session?.neighbourAs, 64_512);
  assert.deepEqual(session?.channels, [{ family: 4, imported: 1, exported: 1, filtered: 0, preferred: 1 }]);
  const route = (await net.speaker(1).bird.routes()).find(({ prefix }) => prefix === '10.77.2.0/24');
  assert.equal(route?.from, 'mesh4_192_168_1_2');
  assert.equal(route?.chosen, true);
  assert.equal(route?.nextHop, '192.168.1.2');
  assert.deepEqual(route?.via, [{ gateway: '192.168.1.2', interface: 'eth0' }]);
});

test('the configuration is for root alone, and has its passwords there and nowhere else', { skip }, () => {
  const { directory } = net.speaker(1);
  const file = join(directory, 'bird.conf');
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.ok(readFileSync(file, 'utf8').includes(PASSWORD));
  assert.ok(!configOf(1).includes(PASSWORD));
});

test('another password is another session: it does not come up, and says why', { skip }, async () => {
  const wrong = new Map([[passwordSymbol(SECRET), 'wrong']]);
  const { bird } = net.speaker(3);
  assert.deepEqual(await bird.configure(configOf(3), wrong), []);
  await waitFor('sessions to be down', async () => (await bird.sessions()).every(({ up }) => !up), 60_000);
  assert.deepEqual(await bird.configure(configOf(3), PASSWORDS), []);
  await net.established(3, 4);
  await routesCome();
});

test(
  'a configuration that BIRD refuses leaves the old one, in the file and in the daemon',
  { skip },
  async () => {
    const { bird, directory } = net.speaker(1);
    const file = join(directory, 'bird.conf');
    const before = readFileSync(file, 'utf8');
    const problems = await bird.configure(`${configOf(1)}\nprotocol nonsense { }\n`, PASSWORDS);
    assert.match(problems[0]?.message ?? '', /syntax error/);
    assert.ok(!JSON.stringify(problems).includes(PASSWORD));
    assert.equal(readFileSync(file, 'utf8'), before);
    await net.established(1, 4);
  },
);

test(
  'an agent that comes finds the daemon that the last one left, and its configuration',
  { skip },
  async () => {
    const { directory, pid } = net.speaker(2);
    const [before, options] = [pid(), { directory, clock: systemClock, timeoutMs: 30_000 }];
    const next = await openBird({ ...options, command: ['/bin/false'], onChange: () => assert.fail() });
    assert.ok(next.isUp());
    assert.deepEqual(await next.configure(configOf(2), PASSWORDS), []);
    assert.equal((await next.sessions()).filter(({ up }) => up).length, 4);
    await next.close('leave');
    assert.equal(pid(), before);
    await net.established(2, 4);
  },
);

test('routes to pods behind a tunnel leave by it, also when it was made anew', { skip }, async () => {
  const { bird, netns } = net.speaker(1);
  const ends = ['192.168.1.3', 'fd00::3'].map((end, index) => ({
    nextHop: address(end),
    link: `tartan${index}`,
  }));
  const devices = (): string =>
    ['-4', '-6']
      .flatMap((family) =>
        netns
          .list<{ dst: string; dev?: string; gateway?: string }>(`${family} route show proto bird`)
          .map(({ dst, dev, gateway }) => `${dst} ${gateway === undefined ? dev : 'via'}`),
      )
      .join(', ');
  const away = ends.map(({ nextHop }) => ({ nextHop }));
  assert.deepEqual(await bird.configure(configOf(1, away), PASSWORDS), []);
  await waitFor('routes to be gone', () => devices() === '10.77.2.0/24 via, fd77:0:0:2::/64 via', 60_000);
  const make = (): void => {
    for (const { link } of ends) netns.ip(`link add ${link} type veth peer name ${link}p`);
    for (const { link } of ends) for (const name of [link, `${link}p`]) netns.ip(`link set ${name} up`);
  };
  make();
  const through = '10.77.2.0/24 via, 10.77.3.0/24 tartan0, fd77:0:0:2::/64 via, fd77:0:0:3::/64 tartan1';
  await waitFor(
    'routes by the devices',
    async () => {
      assert.deepEqual(await bird.configure(configOf(1, ends), PASSWORDS), []);
      await bird.refeed();
      return devices() === through;
    },
    60_000,
  );
  for (const { link } of ends) netns.ip(`link del ${link}`);
  make();
  // BIRD looks at the kernel every 10 s.
  await waitFor('routes by the new devices', () => devices() === through, 60_000);
  assert.deepEqual(await bird.configure(configOf(1), PASSWORDS), []);
  await routesCome();
});

/** A daemon that dies again before it has told its peers everything is not waited for a second time (RFC 4724, 4.2). */
async function recovered(): Promise<void> {
  await waitFor(
    'node 1 to have told its peers everything again',
    async () => {
      const sessions = await net.speaker(1).bird.sessions();
      return sessions.every(
        ({ channels }) => channels.length > 0 && channels.every(({ exported }) => exported > 0),
      );
    },
    60_000,
  );
}

test('BIRD killed under traffic: no packet is lost, and it is there again', { skip }, async () => {
  const speaker = net.speaker(1);
  const killed = speaker.pid();
  for (const ends of [
    ['10.77.1.1', '10.77.2.1'],
    ['fd77:0:0:1::1', 'fd77:0:0:2::1'],
  ] as const) {
    const { sent, received } = await lostWhile(speaker, ends, async () => {
      process.kill(speaker.pid(), 'SIGKILL');
      await waitFor('the daemon to be away', () => speaker.changes.at(-1)?.up === false);
      await waitFor('the daemon to be back', () => speaker.changes.at(-1)?.up === true, 60_000);
      await net.established(1, 4);
      await routesCome();
      await recovered();
    });
    assert.ok(sent > 20, `${sent} pings`);
    assert.deepEqual({ ends, received }, { ends, received: sent });
  }
  assert.notEqual(speaker.pid(), killed);
});
