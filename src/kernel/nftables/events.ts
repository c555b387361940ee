/**
 * What the events of NFNLGRP_NFTABLES mean for us. The kernel tells of every commit, ours too: those carry the netlink
 * port of the socket that sent them, so that a writer never wakes itself.
 */
import { NFT_TABLE } from '#model/numbers.ts';
import { POLICY_TABLE } from '#model/policy-program.ts';
import type { Change } from '../kernel.ts';
import { Attributes, type Message, readMessages } from '../netlink/message.ts';
import { familyOf, NFGENMSG_BYTES, NFT_MSG, type NftFamily, nftType } from './nfnetlink.ts';

export type Interest = {
  /** Ports of our own sockets. */
  readonly ports: ReadonlySet<number>;
  /** Chains of others (`family table chain`) in which we want rules. */
  readonly chains: ReadonlySet<string>;
  /** Base chains of others that filter, as they were last listed. */
  readonly bases: ReadonlySet<string>;
};

/** First attribute of every event but newGen: NFTA_TABLE_NAME, NFTA_CHAIN_TABLE, NFTA_RULE_TABLE … */
const TABLE = 1;
/** NFTA_RULE_CHAIN and NFTA_CHAIN_NAME. */
const CHAIN_OF_RULE = 2;
const CHAIN_NAME = 3;
const CHAIN_HOOK = 4;

/**
 * Somebody else touched our table, that of policy, or a chain that we have a rule in: look again. Somebody made a base chain, changed its
 * policy or its rules: something foreign changed. Everything else is nothing.
 */
export function parseNftEvent(datagram: Buffer, interest: Interest): Change[] {
  let resync = false;
  let foreign = false;
  let policy = false;
  for (const message of readMessages(datagram)) {
    const portOffset = message.at - 4;
    if (interest.ports.has(datagram.readUInt32LE(portOffset))) continue;
    policy ||= isOfPolicy(message);
    resync ||= concerns(message, interest);
    foreign ||= isBaseChain(message) || isRuleOf(message, interest.bases);
  }
  return [
    ...(resync ? [{ type: 'resync' } as const] : []),
    ...(policy ? [{ type: 'policy' } as const] : []),
    ...(foreign ? [{ type: 'underlay' } as const] : []),
  ];
}

function isOfPolicy(message: Message): boolean {
  const type = nftType(message);
  if (type === undefined || type === NFT_MSG.newGen || familyOf(message) !== 'inet') return false;
  const attributes = new Attributes(message.bytes, message.at + NFGENMSG_BYTES, message.end);
  return attributes.str(TABLE)?.startsWith(POLICY_TABLE) === true;
}

function isRuleOf(message: Message, chains: ReadonlySet<string>): boolean {
  const type = nftType(message);
  if (type !== NFT_MSG.newRule && type !== NFT_MSG.delRule) return false;
  const attributes = new Attributes(message.bytes, message.at + NFGENMSG_BYTES, message.end);
  return chains.has(`${familyOf(message)} ${attributes.str(TABLE)} ${attributes.str(CHAIN_OF_RULE)}`);
}

function concerns(message: Message, interest: Interest): boolean {
  const type = nftType(message);
  const family = familyOf(message);
  if (type === undefined || type === NFT_MSG.newGen || family === undefined) return false;
  const attributes = new Attributes(message.bytes, message.at + NFGENMSG_BYTES, message.end);
  const table = attributes.str(TABLE);
  if (table === NFT_TABLE && (family === 'inet' || family === 'bridge')) return true;
  return concernsChain(type, `${family} ${table}`, attributes, interest.chains);
}

function isBaseChain(message: Message): boolean {
  if (nftType(message) !== NFT_MSG.newChain) return false;
  return (
    new Attributes(message.bytes, message.at + NFGENMSG_BYTES, message.end).data(CHAIN_HOOK) !== undefined
  );
}

function concernsChain(
  type: number,
  table: `${NftFamily} ${string}`,
  attributes: Attributes,
  chains: ReadonlySet<string>,
): boolean {
  if (type === NFT_MSG.newRule || type === NFT_MSG.delRule) {
    return chains.has(`${table} ${attributes.str(CHAIN_OF_RULE)}`);
  }
  if (type === NFT_MSG.newChain || type === NFT_MSG.delChain) {
    return chains.has(`${table} ${attributes.str(CHAIN_NAME)}`);
  }
  return type === NFT_MSG.delTable && [...chains].some((chain) => chain.startsWith(`${table} `));
}
