import { test } from 'node:test';
import { FakeKernel } from './fake.ts';
import { XFRM_CONTRACT } from './xfrm-contract.ts';

for (const [what, check] of Object.entries(XFRM_CONTRACT)) {
  test(`fake kernel, IPsec: ${what}`, async () => {
    await check(new FakeKernel());
  });
}
