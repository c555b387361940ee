/** Checklist part d, second half: shaping and the loopback plugin. */
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import type { Case } from './case.ts';
import { expected } from './differences.ts';
import { addressesOf, environmentOf, makePod, tryAdd, tryDel, withPod } from './runtime.ts';
import type { Subject } from './subject.ts';
import { waitForPing } from './traffic.ts';

const rates = (bandwidth: object) => ({ runtimeConfig: { bandwidth } });
const MBIT = 1_000_000;

type Qdisc = { kind: string; dev: string; options?: { rate?: number; burst?: number } };

async function shapers(subject: Subject): Promise<Qdisc[]> {
  const text = await subject.host.netns.must(['tc', '-j', 'qdisc', 'show']);
  return (JSON.parse(text) as Qdisc[]).filter((qdisc) => qdisc.kind === 'tbf');
}

async function bothDirections(subject: Subject): Promise<void> {
  const network = subject.network({ bandwidth: true });
  const bandwidth = { ingressRate: 8 * MBIT, ingressBurst: MBIT, egressRate: 16 * MBIT, egressBurst: MBIT };
  await withPod(subject, network, rates(bandwidth), async () => {
    const found = (await shapers(subject)).map((qdisc) => qdisc.options?.rate ?? 0).sort((a, b) => a - b);
    assert.deepEqual(found, [1_000_000, 2_000_000], 'bytes per second, one shaper for each direction');
  });
  assert.deepEqual(await shapers(subject), [], 'all gone after DEL');
  await withPod(subject, network, rates({ ingressRate: 8 * MBIT, ingressBurst: MBIT }), async () => {
    assert.equal((await shapers(subject)).length, 1, 'ingress only');
  });
  await withPod(subject, network, rates({ egressRate: 8 * MBIT, egressBurst: MBIT }), async () => {
    assert.equal((await shapers(subject)).length, 1, 'egress only');
  });
  await withPod(subject, network, {}, async () =>
    assert.deepEqual(await shapers(subject), [], 'none asked for'),
  );
}

async function badRates(subject: Subject): Promise<void> {
  const network = subject.network({ bandwidth: true });
  for (const bandwidth of [
    { ingressRate: 1000 },
    { ingressBurst: 1000 },
    { egressRate: 1000 },
    { ingressRate: 1000, ingressBurst: 2 ** 32 * 8 },
    { ingressRate: -5, ingressBurst: 5 },
  ]) {
    const pod = makePod(rates(bandwidth));
    const done = await tryAdd(subject, network, pod);
    await tryDel(subject, { ...network, plugins: network.plugins.slice(0, 1) }, pod);
    pod.netns.remove();
    assert.ok('error' in done, `${JSON.stringify(bandwidth)} was accepted`);
    assert.equal(done.error.code, expected(subject, 'bad-bandwidth'), done.error.msg);
  }
}

async function configurationWins(subject: Subject): Promise<void> {
  const network = subject.network({ bandwidth: true });
  const fixed = { ingressRate: 8 * MBIT, ingressBurst: MBIT };
  const key = subject.side === 'ours' ? { bandwidth: fixed } : fixed;
  const plugins = network.plugins.map((plugin, index, all) =>
    index === all.length - 1 ? { ...plugin, ...key } : plugin,
  );
  const asked = rates({ ingressRate: 80 * MBIT, ingressBurst: MBIT });
  await withPod(subject, { ...network, plugins }, asked, async () => {
    assert.deepEqual(
      (await shapers(subject)).map((qdisc) => qdisc.options?.rate),
      [1_000_000],
    );
  });
}

/** Bytes per second from the node into the pod. */
async function measure(subject: Subject, bandwidth: object | undefined): Promise<number> {
  let rate = 0;
  const options = bandwidth === undefined ? {} : rates(bandwidth);
  await withPod(subject, subject.network({ bandwidth: true }), options, async (pod, result) => {
    const [address = ''] = addressesOf(result);
    await waitForPing(subject.host.netns, address);
    const server = pod.netns.start(['iperf3', '-s', '-1', '-p', '5299']);
    await new Promise((resolve) => setTimeout(resolve, 200));
    const text = await subject.host.netns.must(['iperf3', '-J', '-c', address, '-p', '5299', '-t', '1']);
    server.kill('SIGKILL');
    rate =
      (JSON.parse(text) as { end: { sum_received: { bits_per_second: number } } }).end.sum_received
        .bits_per_second / 8;
  });
  return rate;
}

async function onlyTheLimitedIsSlow(subject: Subject): Promise<void> {
  const limited = await measure(subject, { ingressRate: 20 * MBIT, ingressBurst: 2 * MBIT });
  const free = await measure(subject, undefined);
  assert.ok(limited < 4_000_000, `${limited} bytes/s with a limit of 2,500,000 and a burst of 250,000`);
  assert.ok(free > 10 * limited, `unlimited ${free}, limited ${limited}`);
}

async function loopback(subject: Subject): Promise<void> {
  const pod = { ...makePod(), ifname: 'lo' };
  pod.netns.ip('link set lo down');
  const config = { cniVersion: '1.0.0', name: 'cni-loopback', type: 'loopback' };
  const run = (verb: string, more: object = {}) =>
    subject.host.cni(verb, environmentOf(pod), { ...config, ...more }, { type: 'loopback' });
  const state = (): boolean =>
    pod.netns.list<{ flags: string[] }>('link show lo')[0]?.flags.includes('UP') === true;
  const added = await run('ADD');
  assert.equal(added.code, 0, added.stdout);
  assert.equal(state(), true);
  const result = JSON.parse(added.stdout) as { ips: { address: string }[] };
  assert.deepEqual(
    result.ips.map((ip) => ip.address),
    ['127.0.0.1/8', '::1/128'],
  );
  assert.equal((await run('CHECK', { prevResult: result })).code, 0);
  assert.equal((await run('DEL')).code, 0);
  assert.equal(state(), false);
  assert.notEqual((await run('CHECK', { prevResult: result })).code, 0, 'CHECK sees lo down');
  assert.equal((await subject.host.cni('VERSION', {}, '', { type: 'loopback' })).code, 0);
  pod.netns.remove();
  assert.equal((await run('DEL')).code, 0, 'DEL with the namespace gone');
  writeFileSync(pod.netns.path, '');
  try {
    const unmounted = await run('DEL');
    assert.equal(unmounted.code, expected(subject, 'lo-of-an-unmounted-netns'), 'its file left behind');
  } finally {
    rmSync(pod.netns.path);
  }
}

export const SHAPING: readonly Case[] = [
  { id: 'W1', name: 'a shaper per direction, as asked', run: bothDirections },
  { id: 'W1', name: 'the configuration wins over the runtime', run: configurationWins },
  { id: 'W1', name: 'bad rates', run: badRates },
  { id: 'W2/W3', name: 'only the limited pod is slow', run: onlyTheLimitedIsSlow },
  { id: 'L1', name: 'loopback up and down', run: loopback },
];
