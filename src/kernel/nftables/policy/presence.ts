/** Whether the namespace of the calling thread has a table of network policy. */
import { POLICY_TABLE } from '#model/policy-program.ts';
import { MessageWriter, NLM_F_ACK } from '../../netlink/message.ts';
import { NetlinkError, openNetlink } from '../../netlink/socket.ts';
import { NETLINK_NETFILTER } from '../../sys.ts';
import { beginNft, NFT_MSG } from '../nfnetlink.ts';

export function hasPolicyTable(): boolean {
  using socket = openNetlink(NETLINK_NETFILTER);
  const writer = new MessageWriter();
  beginNft(writer, NFT_MSG.getTable, NLM_F_ACK, 'inet');
  writer.str(1, POLICY_TABLE);
  writer.end();
  for (const refusal of socket.batch(writer).refusals.values()) {
    if (refusal.code === 'ENOENT') return false;
    throw new NetlinkError(refusal);
  }
  return true;
}
