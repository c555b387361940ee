/**
 * How a chain ends, by the expressions of its last rule (nf_tables.h). nft's own listing of one chain reads all sets of its table
 * first: a second where a service proxy keeps its services there.
 */
import { Attributes, eachAttribute, type Message, MessageWriter, NLM_F_DUMP } from '../netlink/message.ts';
import { NetlinkError, type NetlinkSocket } from '../netlink/socket.ts';
import { beginNft, NFGENMSG_BYTES, NFT_MSG, type NftFamily } from './nfnetlink.ts';

export type ChainName = { readonly family: NftFamily; readonly table: string; readonly chain: string };

const RULE = { table: 1, chain: 2, expressions: 4 } as const;
const EXPRESSION = { name: 1, data: 2 } as const;
const IMMEDIATE = { register: 1, data: 2 } as const;
const DATA_VERDICT = 2;
const VERDICT_CODE = 1;
const [REG_VERDICT, NF_DROP] = [0, 0];
/** NFTA_TARGET_NAME and NFTA_MATCH_NAME: extensions of iptables. */
const EXTENSION_NAME = 1;

type Effect = 'none' | 'ends' | 'other';

/** Whether its last rule drops or rejects whatever comes there. Of a chain that is gone: no. */
export function endsInDrop(socket: NetlinkSocket, { family, table, chain }: ChainName): boolean {
  const writer = new MessageWriter();
  beginNft(writer, NFT_MSG.getRule, NLM_F_DUMP, family);
  writer.str(RULE.table, table);
  writer.str(RULE.chain, chain);
  writer.end();
  try {
    return socket.dump(writer, isFinal).at(-1) ?? false;
  } catch (error) {
    if (error instanceof NetlinkError && error.code === 'ENOENT') return false;
    throw error;
  }
}

function isFinal(message: Message): boolean {
  const rule = new Attributes(message.bytes, message.at + NFGENMSG_BYTES, message.end);
  const expressions = rule.data(RULE.expressions) ?? Buffer.alloc(0);
  const effects: Effect[] = [];
  eachAttribute(expressions, 0, expressions.length, (_, at, end) => {
    effects.push(effectOf(new Attributes(expressions, at, end)));
  });
  return effects.includes('ends') && !effects.includes('other');
}

/** Of expressions by their names; any other is a condition, or leads elsewhere. */
const EFFECTS = new Map<string | undefined, (data: Attributes | undefined) => Effect>([
  ['counter', () => 'none'],
  ['log', () => 'none'],
  ['reject', () => 'ends'],
  ['immediate', (data) => (isDrop(data) ? 'ends' : 'other')],
  ['target', (data) => (data?.str(EXTENSION_NAME) === 'REJECT' ? 'ends' : 'other')],
  ['match', (data) => (data?.str(EXTENSION_NAME) === 'comment' ? 'none' : 'other')],
]);

function effectOf(expression: Attributes): Effect {
  const effect = EFFECTS.get(expression.str(EXPRESSION.name));
  return effect?.(expression.nest(EXPRESSION.data)) ?? 'other';
}

function isDrop(immediate: Attributes | undefined): boolean {
  const verdict = immediate?.nest(IMMEDIATE.data)?.nest(DATA_VERDICT);
  return immediate?.u32be(IMMEDIATE.register) === REG_VERDICT && verdict?.u32be(VERDICT_CODE) === NF_DROP;
}
