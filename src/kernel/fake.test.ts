import { test } from 'node:test';
import { CONTRACT } from './contract.ts';
import { FakeKernel } from './fake.ts';

for (const [what, check] of Object.entries(CONTRACT)) {
  test(`fake kernel: ${what}`, async () => {
    const kernel = new FakeKernel();
    kernel.addForeign('eth0');
    await check({ kernel, podNetns: 7 });
  });
}
