import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readPoolObject } from './pool-objects.ts';

const modeOf = (apiVersion: string, kind: string, spec: object): string | undefined => {
  const value = { apiVersion, kind, metadata: { name: 'a' }, spec };
  const found = readPoolObject({ source: 'f', value });
  assert.deepEqual(found?.problems, []);
  return found?.pool?.mode;
};
const calico = (more: object): string | undefined =>
  modeOf('projectcalico.org/v3', 'IPPool', { cidr: '10.0.0.0/16', ...more });

test('a pool’s mode: ours by its name, Calico’s by whichever road it names', () => {
  assert.equal(
    modeOf('tartan.dev/v1', 'Pool', { prefix: '10.0.0.0/16', mode: 'CrossSubnet' }),
    'CrossSubnet',
  );
  assert.equal(modeOf('tartan.dev/v1', 'Pool', { prefix: '10.0.0.0/16' }), undefined);
  assert.equal(calico({ vxlanMode: 'CrossSubnet', ipipMode: 'Never' }), 'CrossSubnet');
  assert.equal(calico({ vxlanMode: 'Never', ipipMode: 'Always' }), 'Always');
  assert.equal(calico({ vxlanMode: 'Never', ipipMode: 'Never' }), 'Never');
  assert.equal(calico({}), undefined);
  assert.equal(calico({ ipipMode: '' }), undefined);
});
