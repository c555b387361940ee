/** Checklist part c: addresses. The reference's IPAM is a plugin of its own; ours is asked through attachments, so all are. */
import assert from 'node:assert/strict';
import { waitFor, type Output } from '../host/namespace.ts';
import { startNode } from '../host/node.ts';
import type { Case } from './case.ts';
import { expected } from './differences.ts';
import {
  add,
  addressesOf,
  del,
  environmentOf,
  makePod,
  parseError,
  tryAdd,
  tryDel,
  withPod,
  type Attachment,
} from './runtime.ts';
import type { NetworkConfig, Subject } from './subject.ts';

const RANGES = { ipRanges: [[{ subnet: '10.88.0.0/24', rangeStart: '10.88.0.50', rangeEnd: '10.88.0.53' }]] };

/** A network whose IPAM takes requested addresses and ranges from the runtime. */
function networkOf(subject: Subject, families: readonly (4 | 6)[] = [4]): NetworkConfig {
  return subject.network({ families, extra: { capabilities: { ips: true, ipRanges: true } } });
}

async function withPods(count: number, body: (pods: readonly Attachment[]) => Promise<void>): Promise<void> {
  const pods = Array.from({ length: count }, () => makePod());
  try {
    await body(pods);
  } finally {
    for (const pod of pods) pod.netns.remove();
  }
}

async function heldByOwner(subject: Subject): Promise<void> {
  const network = networkOf(subject);
  await withPod(subject, network, {}, async (pod, result) => {
    assert.deepEqual(await subject.leases(network.name), addressesOf(result));
    const other = { ...pod, ifname: 'eth1' };
    const second = await add(subject, network, other);
    assert.equal((await subject.leases(network.name)).length, 2, 'another interface is another owner');
    await del(subject, network, other, second);
    assert.deepEqual(await subject.leases(network.name), addressesOf(result));
  });
  assert.deepEqual(await subject.leases(network.name), []);
}

async function released(subject: Subject): Promise<void> {
  const network = networkOf(subject);
  await withPods(1, async ([pod]) => {
    assert.ok(pod);
    const result = await add(subject, network, pod);
    for (let time = 0; time < 3; time += 1) await del(subject, network, pod, result);
    assert.deepEqual(await subject.leases(network.name), []);
  });
}

/** Round robin: an address just given back is not the next one given out. */
async function roundRobin(subject: Subject): Promise<void> {
  const seen: string[] = [];
  const network = networkOf(subject);
  for (let time = 0; time < 4; time += 1)
    await withPod(subject, network, {}, async (_, result) => void seen.push(...addressesOf(result)));
  assert.equal(new Set(seen).size, 4, seen.join(' '));
  for (const address of seen)
    assert.doesNotMatch(address, /\.(0|1|255)$/, 'not network, gateway or broadcast');
}

async function exhaustion(subject: Subject): Promise<void> {
  const network = subject.network({ runtimeRanges: true, extra: { capabilities: { ipRanges: true } } });
  await withPods(5, async (pods) => {
    const given: string[] = [];
    for (const pod of pods.slice(0, 4))
      given.push(...addressesOf(await add(subject, network, { ...pod, runtimeConfig: RANGES })));
    assert.deepEqual(
      given.sort(),
      ['10.88.0.50', '10.88.0.51', '10.88.0.52', '10.88.0.53'],
      'both ends belong to the range',
    );
    const last = { ...(pods[4] as Attachment), runtimeConfig: RANGES };
    const failed = await tryAdd(subject, network, last);
    assert.ok('error' in failed, 'the fifth finds no address');
    assert.equal(failed.error.code, expected(subject, 'address-exhaustion'), failed.error.msg);
    await tryDel(subject, network, last);
    for (const pod of pods) await del(subject, network, { ...pod, runtimeConfig: RANGES });
  });
  assert.deepEqual(await subject.leases(network.name), []);
}

async function requested(subject: Subject): Promise<void> {
  const network = networkOf(subject);
  const sources: Partial<Attachment>[] = [
    { args: 'IgnoreUnknown=1;IP=10.88.0.77' },
    { runtimeConfig: { ips: ['10.88.0.77/24'] } },
    { runtimeConfig: { ips: ['10.88.0.77'] } },
  ];
  for (const source of sources)
    await withPod(subject, network, source, async (_, result) => {
      assert.deepEqual(addressesOf(result), ['10.88.0.77'], JSON.stringify(source));
    });
  const fromArgs = subject.network({ extra: { args: { cni: { ips: ['10.88.0.78'] } } } });
  await withPod(subject, fromArgs, {}, async (_, result) =>
    assert.deepEqual(addressesOf(result), ['10.88.0.78']),
  );
  const both = { runtimeConfig: { ips: ['10.88.0.79', 'fd88::79'] } };
  await withPod(subject, networkOf(subject, [4, 6]), both, async (_, result) => {
    assert.deepEqual(addressesOf(result), ['10.88.0.79', 'fd88::79']);
  });
}

async function requestRefused(subject: Subject): Promise<void> {
  const network = networkOf(subject);
  const attempt = async (runtimeConfig: object): Promise<number> => {
    const pod = makePod({ runtimeConfig: { ...runtimeConfig } });
    const done = await tryAdd(subject, network, pod);
    await tryDel(subject, network, pod);
    pod.netns.remove();
    assert.ok('error' in done, `${JSON.stringify(runtimeConfig)} was served`);
    return done.error.code;
  };
  await withPod(subject, network, { runtimeConfig: { ips: ['10.88.0.80'] } }, async () => {
    assert.equal(await attempt({ ips: ['10.88.0.80'] }), expected(subject, 'address-taken'));
    assert.deepEqual(
      await subject.leases(network.name),
      ['10.88.0.80'],
      'nothing of the refused request is left',
    );
  });
  await attempt({ ips: ['192.0.2.1'] });
  await attempt({ ips: ['10.88.0.81', '192.0.2.1'] });
  assert.deepEqual(await subject.leases(network.name), [], 'one address that cannot be served releases all');
}

const BAD_RANGES: Record<string, readonly object[]> = {
  'a /31': [{ subnet: '10.90.0.0/31' }],
  'a /32': [{ subnet: '10.90.0.0/32' }],
  'host bits': [{ subnet: '10.90.0.1/24' }],
  'start behind end': [{ subnet: '10.90.0.0/24', rangeStart: '10.90.0.9', rangeEnd: '10.90.0.5' }],
  'start outside': [{ subnet: '10.90.0.0/24', rangeStart: '10.91.0.9' }],
  'end outside': [{ subnet: '10.90.0.0/24', rangeEnd: '10.91.0.9' }],
  'gateway outside': [{ subnet: '10.90.0.0/24', gateway: '10.91.0.1' }],
  'no prefix': [{ subnet: '10.90.0.0' }],
  overlap: [{ subnet: '10.90.0.0/24' }, { subnet: '10.90.0.128/25' }],
};

async function badRanges(subject: Subject): Promise<void> {
  const network = networkOf(subject);
  for (const [what, range] of Object.entries(BAD_RANGES)) {
    const pod = makePod({ runtimeConfig: { ipRanges: [range] } });
    const done = await tryAdd(subject, network, pod);
    await tryDel(subject, network, pod);
    pod.netns.remove();
    assert.ok('error' in done, `${what} was accepted`);
    assert.equal(done.error.code, expected(subject, 'bad-range'), `${what}: ${done.error.msg}`);
  }
}

/** Fifty processes at once: every address is given once (the reference's disk lock test, raised). */
async function parallel(subject: Subject): Promise<void> {
  const network = networkOf(subject, [4, 6]);
  await withPods(50, async (pods) => {
    const results = await Promise.all(pods.map((pod) => add(subject, network, pod)));
    const given = results.flatMap(addressesOf);
    assert.equal(new Set(given).size, 100);
    assert.deepEqual((await subject.leases(network.name)).length, 100);
    await Promise.all(pods.map((pod, index) => del(subject, network, pod, results[index])));
  });
  assert.deepEqual(await subject.leases(network.name), []);
}

/** STATUS says 50 while an ADD would find no address, and when nobody is there to serve it. */
async function statusWhenFull(subject: Subject): Promise<void> {
  const [, wiring = ''] = subject.title.split(' ');
  const ipv4 = { range: '10.88.0.0/24', subnetLength: 29, nodeSubnet: '10.88.0.8/29' };
  const node = await startNode(`full-${wiring}`, {
    network: { name: 'bxnet', ipv4 },
    addresses: { quarantineSeconds: 0 },
    wiring: { type: wiring },
  });
  const config = { cniVersion: '1.1.0', name: 'bxnet', type: subject.type };
  const ask = (verb: string, pod?: Attachment): Promise<Output> =>
    node.cni(verb, pod === undefined ? {} : environmentOf(pod), config);
  try {
    await withPods(6, async (pods) => {
      for (const [index, pod] of pods.entries()) {
        const status = await ask('STATUS');
        assert.equal(status.code === 0, index < 5, `${index} of five addresses are taken`);
        if (status.code !== 0) {
          const error = parseError(status);
          assert.equal(error.code, 50);
          assert.match(error.msg, /10\.88\.0\.8\/29/, 'the subnet is named');
        }
        const added = await ask('ADD', pod);
        if (index < 5) assert.equal(added.code, 0, added.stdout);
        else assert.equal(parseError(added).code, 11);
      }
      assert.equal((await ask('DEL', pods[0])).code, 0);
      await waitFor('the address to be free again', async () => (await ask('STATUS')).code === 0);
    });
    await node.kill();
    assert.equal(parseError(await ask('STATUS')).code, 50, 'without an agent');
  } finally {
    await node.stop();
  }
}

export const ADDRESSES: readonly Case[] = [
  {
    id: 'I1',
    name: 'a lease belongs to container and interface',
    unless: (subject) =>
      subject.title === 'ptp' ? 'the reference ptp cannot attach a pod twice' : undefined,
    run: heldByOwner,
  },
  { id: 'I1', name: 'release is idempotent', run: released },
  { id: 'I2', name: 'requested addresses from every source', run: requested },
  { id: 'I2', name: 'a request that cannot be served leaves nothing', run: requestRefused },
  { id: 'I3', name: 'round robin; network, gateway and broadcast are not given', run: roundRobin },
  { id: 'I3', name: 'a range is given to its ends, then is exhausted', run: exhaustion },
  {
    id: 'P17/S2',
    name: 'STATUS of a full pool, and without an agent',
    unless: (subject) =>
      expected(subject, 'speaks-1.1') === true ? undefined : 'the reference does not know STATUS',
    run: statusWhenFull,
  },
  { id: 'I4', name: 'bad ranges', run: badRanges },
  { id: 'I5', name: 'fifty at once get fifty addresses', run: parallel },
];
