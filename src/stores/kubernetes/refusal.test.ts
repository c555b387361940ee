import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fault } from '#model/fault.ts';
import { EtcdError, faultOf as faultOfEtcd } from '../etcd/refusal.ts';
import { faultOf, KubernetesError } from './refusal.ts';

test('hints are about the store that refused, and about no other', () => {
  const answers = [
    [401, 'Unauthorized', 'store-refused', /token or certificate/],
    [403, 'Forbidden', 'store-refused', /kubectl auth can-i/],
    [503, 'ServiceUnavailable', 'store-away', /API server runs/],
  ] as const;
  for (const [status, reason, code, hint] of answers) {
    const fault = faultOf(new KubernetesError(status, reason, 'no'), 'leases');
    assert.ok(fault instanceof Fault && fault.code === code);
    assert.match(fault.hint, hint);
    assert.doesNotMatch(fault.hint, /etcd/);
  }
  for (const [number, code, hint] of [
    [7, 'store-refused', /store\.etcd\.user/],
    [14, 'store-away', /members of etcd/],
  ] as const) {
    const fault = faultOfEtcd(new Map(), new EtcdError(number, 'no'));
    assert.ok(fault instanceof Fault && fault.code === code);
    assert.match(fault.hint, hint);
    assert.doesNotMatch(fault.hint, /Kubernetes|API server/);
  }
});
