/** What cannot be written: the agent refuses ADD and keeps nothing of it, goes on serving, and recovers by itself. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { add, del, makePod, tryAdd, tryDel } from '../conformance/runtime.ts';
import { tartanSubject } from '../conformance/subject.ts';
import { whyNoKernel } from './namespace.ts';
import { whyNoTartan } from './node.ts';

describe('a full disk', { skip: whyNoKernel(['ip', 'nsenter', 'prlimit']) ?? whyNoTartan() ?? false }, () => {
  let subject: Awaited<ReturnType<typeof tartanSubject>>;
  before(async () => {
    subject = await tartanSubject('routed');
  });
  after(() => subject.stop());

  /** Every write to a file fails (EFBIG), ledger and log alike: as near to a full disk as one process can be brought. */
  const limitFiles = (size: string): void => {
    execFileSync('prlimit', ['--pid', String(subject.host.pid()), `--fsize=${size}:`]);
  };
  const links = (): number => subject.host.netns.list('link').length;

  test('ADD is an I/O error that leaves nothing; the next one works once there is room', async () => {
    const network = subject.network();
    const pod = makePod();
    const before_ = links();
    limitFiles('0');
    try {
      const failed = await tryAdd(subject, network, pod);
      assert.ok('error' in failed, 'nothing is promised that is not written');
      assert.equal(failed.error.code, 5, failed.error.msg);
      await tryDel(subject, network, pod);
      assert.equal(links(), before_);
      const status = await subject.host.cni('VERSION', {}, '');
      assert.equal(status.code, 0, 'the agent lives, though it cannot even log');
    } finally {
      limitFiles('unlimited');
    }
    const result = await add(subject, network, pod);
    await del(subject, network, pod, result);
    assert.deepEqual(await subject.leases(network.name), []);
    pod.netns.remove();
  });
});
