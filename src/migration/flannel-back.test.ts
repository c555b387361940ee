import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Attachment } from '#model/attachment.ts';
import type { ProviderLink, ProviderNamespace } from '#model/provider.ts';
import type { Settings } from '#model/settings.ts';
import { address } from '#net/address.ts';
import { interfaceAddress, prefix } from '#net/prefix.ts';
import { type BackScene, delegateText, describeBack, isBackDue, noteText, planBack } from './flannel-back.ts';

const SETTINGS = {
  road: { type: 'vxlan', vxlan: { vni: 1 } },
  wiring: { bridge: { name: 'cni0' } },
} as unknown as Settings;

const link = (name: string, ours = true): ProviderLink => ({
  name,
  index: 1,
  mtu: 1450,
  ours,
  addresses: [],
});

function pod(n: number, more: Partial<Attachment> = {}): Attachment {
  return {
    network: 'tartan',
    containerId: `c${n}`,
    ifname: 'eth0',
    phase: 'ready',
    netnsInode: 100 + n,
    bootId: 'b',
    wiring: 'bridge',
    hostLink: `tt0123456789${n}`,
    addresses: [interfaceAddress(address(`10.244.1.${n}`), 24)],
    portMappings: [],
    ...more,
  } as Attachment;
}

const namespaceOf = (n: number): ProviderNamespace => ({
  path: `/run/netns/p${n}`,
  inode: 100 + n,
  links: [{ ...link('eth0'), addresses: [interfaceAddress(address(`10.244.1.${n}`), 24)] }],
  routes: [],
});

const SCENE: BackScene = {
  settings: SETTINGS,
  subnets: { 4: prefix('10.244.1.0/24') },
  deviceName: 'tartan.1',
  links: [link('tartan.1'), link('cni0'), link('tt01234567892')],
  namespaces: [namespaceOf(2)],
  attachments: [pod(2)],
  reservations: [],
  bootId: 'b',
  daemon: undefined,
  isAgentAway: true,
};

test('links lose our mark and our names, and a pod is noted as host-local and flannel’s plugin note it', () => {
  const plan = planBack(SCENE);
  assert.deepEqual(plan.problems, []);
  assert.deepEqual(describeBack(plan), [
    'note 10.244.1.2/24 of c2 for flannel’s plugins, and give back tt01234567892',
    'give back the bridge cni0',
    'give back tartan.1 as flannel.1',
  ]);
  const links = [plan.pods[0]?.link, plan.bridge, plan.device];
  assert.deepEqual(
    links.map((hand) => [hand?.to, hand?.ours]),
    [
      ['veth01234567892', false],
      ['cni0', false],
      ['flannel.1', false],
    ],
  );
  assert.equal(noteText(pod(2)), 'c2\r\neth0');
  assert.deepEqual(JSON.parse(delegateText(SCENE, { network: 'cbr0', dataDir: '/d' })), {
    cniVersion: '0.3.1',
    name: 'cbr0',
    type: 'bridge',
    bridge: 'cni0',
    ipMasq: false,
    ipam: { type: 'host-local', dataDir: '/d', ranges: [[{ subnet: '10.244.1.0/24' }]] },
  });
});

test('what was given back is not due again; a pod that is gone is not noted', () => {
  const links = [link('flannel.1', false), link('cni0', false)];
  const dead = [pod(3), pod(2, { bootId: 'earlier' }), pod(2, { phase: 'deleting' })];
  const plan = planBack({ ...SCENE, links, attachments: dead });
  assert.equal(isBackDue(plan), false);
  assert.deepEqual(plan.problems, []);
});

test('notes of addresses that no pod has are taken away; those of living pods and of other subnets are not', () => {
  const note = (text: string) => ({ address: address(text), containerId: 'x', ifname: 'eth0' });
  const reservations = ['10.244.1.2', '10.244.1.9', '10.9.0.9', '10.244.1.4'].map(note);
  const given = { ...SCENE, namespaces: [namespaceOf(2), namespaceOf(4)], reservations };
  assert.deepEqual(planBack(given).stale, ['10.244.1.9'], 'also those that were given back before');
});

test('what stands against it: who runs, the road, and pods that flannel’s plugins could not delete', () => {
  const told = (scene: Partial<BackScene>): string[] =>
    planBack({ ...SCENE, ...scene }).problems.map(({ path, message }) => `${path} ${message}`);
  assert.match(told({ daemon: 7 }).join(), /^flanneld \(process 7\)/);
  assert.match(told({ isAgentAway: false }).join(), /^tartan agent runs/);
  const settings = { ...SETTINGS, road: { ...SETTINGS.road, type: 'wireguard' } } as unknown as Settings;
  assert.match(told({ settings }).join(), /^road.type is wireguard/);
  const strange = [interfaceAddress(address('10.9.0.2'), 24)];
  for (const [more, text] of [
    [{ wiring: 'routed' }, /^c2\/eth0 is wired routed/],
    [{ delegatedIpam: 'dhcp' }, /^c2\/eth0 has its address from dhcp/],
    [{ bandwidth: { ingressRate: 1 } }, /^c2\/eth0 is shaped/],
    [{ addresses: strange }, /^c2\/eth0 has 10.9.0.2/],
  ] as const)
    assert.match(told({ attachments: [pod(2, more)] }).join(), text);
  const ports = [{ hostPort: 80, containerPort: 8080, protocol: 'tcp' }] as const;
  const { notes } = planBack({ ...SCENE, attachments: [pod(2, { portMappings: ports })] });
  assert.match(notes[0]?.message ?? '', /\(80\/tcp\) end/);
});
