import assert from 'node:assert/strict';
import { test } from 'node:test';
import { keepBridge } from './bridge.ts';
import { settings } from '#backends/testing/nodes.ts';
import type { Attachment } from '#model/attachment.ts';

const ledgerOf = (...attachments: Pick<Attachment, 'wiring' | 'phase' | 'hostLink'>[]) => ({
  list: () => attachments as Attachment[],
});
const LINKS = [
  { name: 'cni0' },
  { name: 'tta', master: 'cni0' },
  { name: 'ttb', master: 'docker0' },
  { name: 'ttc' },
];

test('the bridge of pods that are there, and else that of the settings', () => {
  const own = settings('vxlan');
  const pod = { wiring: 'bridge', phase: 'ready', hostLink: 'tta' } as const;
  const kept = keepBridge(
    own,
    ledgerOf({ ...pod, hostLink: 'gone' }, { ...pod, hostLink: 'ttc' }, pod),
    () => LINKS,
  );
  assert.equal(kept.wiring.bridge.name, 'cni0');
  assert.deepEqual({ ...kept, wiring: own.wiring }, own);
  assert.equal(
    keepBridge(kept, ledgerOf(pod), () => LINKS),
    kept,
  );

  const others = [
    { ...pod, wiring: 'routed' as const },
    { ...pod, wiring: 'chained' as const, hostLink: 'ttb' },
    { ...pod, phase: 'planned' as const },
  ];
  assert.equal(
    keepBridge(own, ledgerOf(...others), () => assert.fail('nobody has to look')),
    own,
  );
  assert.equal(
    keepBridge(own, ledgerOf({ ...pod, hostLink: 'ttc' }), () => LINKS),
    own,
  );
});
