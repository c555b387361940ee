/** Checklist part b, what concerns the bridge: made once, kept as it is, guarded; and what of it we do not offer. */
import assert from 'node:assert/strict';
import { waitFor } from '../host/namespace.ts';
import type { Case } from './case.ts';
import { expected } from './differences.ts';
import { add, del, makePod, tryAdd, tryDel, withPod, type Attachment } from './runtime.ts';
import type { Subject } from './subject.ts';
import { pings, waitForPing } from './traffic.ts';

type Link = { address: string; addr_info?: { family: string; local: string; scope: string }[] };

function bridgeOf(subject: Subject): { mac: string; addresses: string[] } {
  const [link] = subject.host.netns.list<Link>('addr show dev cni0');
  const globals = (link?.addr_info ?? []).filter((one) => one.scope === 'global');
  return { mac: link?.address ?? '', addresses: globals.map((one) => one.local) };
}

async function keptAsItIs(subject: Subject): Promise<void> {
  const network = subject.network();
  await withPod(subject, network, {}, async () => {
    const first = bridgeOf(subject);
    await withPod(subject, network, {}, async () =>
      assert.deepEqual(bridgeOf(subject), first, 'neither MAC nor addresses follow the ports'),
    );
  });
}

/** The bridge lost its address and was given another. */
async function foreignAddress(subject: Subject): Promise<void> {
  const network = subject.network();
  const { netns } = subject.host;
  await withPod(subject, network, {}, async () => {});
  netns.ip('addr flush dev cni0 scope global');
  netns.ip('addr add 10.99.0.1/24 dev cni0');
  const pod = makePod();
  const done = await tryAdd(subject, network, pod);
  try {
    assert.equal('error' in done ? done.error.code : 0, expected(subject, 'foreign-address-on-bridge'));
    if ('error' in done) return;
    await waitForPing(pod.netns, '172.30.0.1');
    assert.ok(bridgeOf(subject).addresses.includes('10.88.0.1'), 'its own is there again');
  } finally {
    await tryDel(subject, network, pod);
    pod.netns.remove();
    await netns.run(['ip', 'addr', 'del', '10.99.0.1/24', 'dev', 'cni0']);
  }
}

const guarded = (subject: Subject) => subject.network({ extra: { macspoofchk: true } });

async function assertGuarded(pod: Attachment): Promise<void> {
  await waitForPing(pod.netns, '172.30.0.1');
  pod.netns.ip('link set eth0 address 02:00:00:00:00:99');
  assert.equal(await pings(pod.netns, '172.30.0.1'), false, 'a frame with a foreign MAC is dropped');
}

/** Somebody flushed all rules: DEL does not mind, and the next pod is guarded as the first was. */
async function guardAfterFlush(subject: Subject): Promise<void> {
  const network = guarded(subject);
  const pod = makePod();
  const result = await add(subject, network, pod);
  await subject.host.netns.must(['nft', 'flush', 'ruleset']);
  await del(subject, network, pod, result);
  pod.netns.remove();
  await withPod(subject, network, {}, (next) => assertGuarded(next));
  const rules = (): Promise<string> => subject.host.netns.must(['nft', 'list', 'ruleset']);
  await waitFor('the guards to go', async () => !(await rules()).includes('02:00:00:00:00:99'));
}

const NOT_OFFERED = [
  { vlan: 100 },
  { vlanTrunk: [{ minID: 5, maxID: 9 }] },
  { portIsolation: true },
  { disableContainerInterface: true },
  { promiscMode: true, hairpinMode: false },
];

async function notOffered(subject: Subject): Promise<void> {
  for (const extra of NOT_OFFERED) {
    const [key = ''] = Object.keys(extra);
    // What the reference bridge says of a VLAN depends on the kernel's bridge module.
    if (key === 'vlan' && subject.title === 'bridge') continue;
    const network = subject.network({ extra });
    const pod = makePod();
    const done = await tryAdd(subject, network, pod);
    await tryDel(subject, network, pod);
    pod.netns.remove();
    assert.equal('error' in done ? done.error.code : 0, expected(subject, 'options-not-offered'), key);
    if ('error' in done) assert.match(done.error.msg, new RegExp(key), 'the message names the key');
  }
}

const unlessBridge = (subject: Subject): string | undefined =>
  subject.title.includes('bridge') ? undefined : 'no bridge in this wiring';

export const BRIDGE: readonly Case[] = [
  {
    id: 'B1/B7',
    name: 'the bridge is made once and keeps MAC and addresses',
    unless: unlessBridge,
    run: keptAsItIs,
  },
  { id: 'B6', name: 'a foreign address on the bridge', unless: unlessBridge, run: foreignAddress },
  {
    id: 'B11',
    name: 'a spoofed MAC is dropped',
    unless: unlessBridge,
    run: (subject) => withPod(subject, guarded(subject), {}, (pod) => assertGuarded(pod)),
  },
  {
    id: 'B17',
    name: 'guarded again after all rules were flushed',
    unless: unlessBridge,
    run: guardAfterFlush,
  },
  { id: 'B4/B7/B12/B13', name: 'what is not offered is refused by name', run: notOffered },
];
