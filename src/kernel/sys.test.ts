/** What a kernel without some protocol of netlink is told as. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { netlinkSocket, noNetfilter, SysError } from './sys.ts';

/** The largest that there may be (MAX_LINKS of linux/netlink.h is 32); nobody has taken it. */
const NO_PROTOCOL = 31;

test('a protocol that the kernel lacks is told by its error, which callers may do without', () => {
  assert.throws(() => netlinkSocket(NO_PROTOCOL), { name: 'SysError', code: 'EPROTONOSUPPORT' });
});

test('netfilter, which nothing does without, is a fault of the kernel with what to do about it, and no defect of ours', () => {
  const cause = new SysError('socket', 93);
  assert.equal(cause.code, 'EPROTONOSUPPORT');
  const fault = noNetfilter(cause);
  assert.equal(fault.code, 'kernel');
  assert.match(fault.message, /nfnetlink/);
  assert.match(fault.hint, /modprobe nf_tables.*CONFIG_NF_TABLES/);
});
