/**
 * Our rules in other programs' chains: inserted at the top, found again by their comment, which starts with the name
 * of our table. A rule's content never changes under its handle, so a handle that we know stands for the text that we
 * gave; of any other rule (made before a restart) the text is not read, which leads to its replacement.
 */
import { NFT_TABLE } from '#model/numbers.ts';
import type { ForeignRuleItem } from '#model/host.ts';
import { Attributes, type Message, MessageWriter, NLM_F_DUMP } from '../netlink/message.ts';
import type { NetlinkSocket } from '../netlink/socket.ts';
import type { NftLibrary } from './library.ts';
import { beginNft, NFGENMSG_BYTES, NFT_MSG } from './nfnetlink.ts';

type Family = ForeignRuleItem['family'];
type FoundRule = {
  readonly family: Family;
  readonly table: string;
  readonly chain: string;
  readonly comment: string;
  readonly handle: bigint;
};

/** NFTA_RULE_* of nf_tables.h. */
const RULE = { table: 1, chain: 2, handle: 3, userdata: 7 } as const;
/** NFTNL_UDATA_RULE_COMMENT of libnftnl: user data are entries of type, length, value. */
const UDATA_COMMENT = 0;
const FAMILIES: readonly Family[] = ['ip', 'ip6', 'inet'];

/** Text between nft's double quotes, in which it knows no escapes. */
function quote(text: string): string {
  if (/["\n]/.test(text) || text.length > 128)
    throw new TypeError(`not an nft comment: ${JSON.stringify(text)}`);
  return `"${text}"`;
}

export class ForeignRules {
  readonly #library: NftLibrary;
  readonly #socket: NetlinkSocket;
  readonly #loaded = new Map<string, { handle: bigint; rule: string }>();
  readonly #chains = new Map<string, string>();

  constructor(library: NftLibrary, socket: NetlinkSocket) {
    this.#library = library;
    this.#socket = socket;
  }

  /** Chains (`family table chain`) in which rules were asked for, with or without success. */
  get chains(): ReadonlySet<string> {
    return new Set(this.#chains.values());
  }

  /** Throws NftError with ENOENT when the chain does not exist. */
  insert(item: ForeignRuleItem): void {
    const name = nameOf(item);
    this.#chains.set(name, `${item.family} ${item.table} ${item.chain}`);
    this.#library.run(insertRule(item, this.#find(name)));
    const [made] = this.#find(name);
    if (made !== undefined) this.#loaded.set(name, { handle: made.handle, rule: item.rule });
  }

  remove(item: ForeignRuleItem): void {
    const name = nameOf(item);
    const present = this.#find(name);
    if (present.length > 0) this.#library.run(present.map(deleteRule).join('\n'));
    this.#chains.delete(name);
    this.#loaded.delete(name);
  }

  observe(): ForeignRuleItem[] {
    return dumpRules(this.#socket).map(({ handle, ...found }) => {
      const loaded = this.#loaded.get(nameOf(found));
      const rule = loaded?.handle === handle ? loaded.rule : `(handle ${handle})`;
      return { kind: 'foreign-rule', ...found, rule };
    });
  }

  #find(name: string): FoundRule[] {
    return dumpRules(this.#socket).filter((found) => nameOf(found) === name);
  }
}

/** All commented rules of ours that stand in tables of others. */
function dumpRules(socket: NetlinkSocket): FoundRule[] {
  return FAMILIES.flatMap((family) => {
    const writer = new MessageWriter();
    beginNft(writer, NFT_MSG.getRule, NLM_F_DUMP, family);
    writer.end();
    return socket.dump(writer, (message) => readRule(family, message));
  });
}

function readRule(family: Family, message: Message): FoundRule | undefined {
  const rule = new Attributes(message.bytes, message.at + NFGENMSG_BYTES, message.end);
  const userdata = rule.data(RULE.userdata);
  const comment = userdata === undefined ? undefined : readComment(userdata);
  const handle = rule.u64be(RULE.handle);
  const table = rule.str(RULE.table);
  const chain = rule.str(RULE.chain);
  if (comment?.startsWith(NFT_TABLE) !== true || table === NFT_TABLE) return undefined;
  if (table === undefined || chain === undefined || handle === undefined) return undefined;
  return { family, table, chain, comment, handle };
}

export function readComment(userdata: Buffer): string | undefined {
  for (let at = 0; at + 2 <= userdata.length; at += 2 + userdata.readUInt8(at + 1)) {
    const end = at + 2 + userdata.readUInt8(at + 1);
    if (userdata[at] === UDATA_COMMENT) return userdata.toString('utf8', at + 2, end).replace(/\0.*$/s, '');
  }
  return undefined;
}

/** What tells one rule of ours from another. */
function nameOf(rule: Pick<FoundRule, 'family' | 'table' | 'chain' | 'comment'>): string {
  return `${rule.family} ${rule.table} ${rule.chain} ${rule.comment}`;
}

/** One transaction that takes away what carries the comment and puts the rule at the chain's top. */
function insertRule(item: ForeignRuleItem, present: readonly FoundRule[]): string {
  const { family, table, chain, rule, comment } = item;
  const insert = `insert rule ${family} ${table} ${chain} ${rule} comment ${quote(comment)}`;
  return [...present.map(deleteRule), insert].join('\n');
}

function deleteRule({ family, table, chain, handle }: FoundRule): string {
  return `delete rule ${family} ${table} ${chain} handle ${handle}`;
}
