/**
 * Elements of our sets and maps by raw nfnetlink, whose cost does not grow with the ruleset. Each element is a message
 * of its own, so that the kernel names exactly those that it refuses.
 */
import { NFT_TABLE } from '#model/numbers.ts';
import { NFT_SETS, type NftSetName, type NftSetType } from '#model/nft-sets.ts';
import type { Step } from '#model/diff.ts';
import type { NftElementItem } from '#model/host.ts';
import { Attributes, type Message, MessageWriter, NLM_F_CREATE, NLM_F_DUMP } from '../netlink/message.ts';
import { NetlinkError, type NetlinkSocket, type Refusal } from '../netlink/socket.ts';
import { SysError } from '../sys.ts';
import { decodeFields, encodeFields } from './fields.ts';
import { beginNft, NFGENMSG_BYTES, NFT_MSG, transaction } from './nfnetlink.ts';

/** Attributes of nf_tables.h: NFTA_SET_ELEM_LIST_*, NFTA_SET_ELEM_*, NFTA_LIST_ELEM, NFTA_DATA_VALUE. */
const LIST = { table: 1, set: 2, elements: 3 } as const;
const ELEMENT = { key: 1, data: 2 } as const;
const LIST_ELEM = 1;
const DATA_VALUE = 1;

/** A step on one element, reduced to what is sent: with `data` only where it is added. */
export type ElementStep = Step & ({ readonly item: NftElementItem } | { readonly was: NftElementItem });
export type ElementFailure = {
  readonly step: ElementStep;
  readonly refusal: Pick<Refusal, 'code' | 'reason'>;
};

/** A send that lost against another writer's commit is repeated; nobody loses so often in a row. */
const ATTEMPTS = 5;
/** One round is enough unless the kernel holds something unexpected, three unless somebody else writes meanwhile. */
const ROUNDS = 5;

/** An element whose fields are bytes already. */
export type EncodedElement = {
  readonly set: NftSetName;
  readonly key: Uint8Array;
  readonly data: Uint8Array | undefined;
};

/** Throws TypeError when a field is no value of its type. */
export function encodeElement({ set, key, data }: NftElementItem): EncodedElement {
  const type: NftSetType = NFT_SETS[set];
  return {
    set,
    key: encodeFields(type.key, key),
    data: type.data === undefined ? undefined : encodeFields(type.data, data ?? []),
  };
}

/** Writes one element command; answers the message's number. */
export function writeElement(
  writer: MessageWriter,
  command: 'add' | 'delete',
  { set, key, data }: EncodedElement,
): number {
  const adds = command === 'add';
  const message = adds ? NFT_MSG.newSetElem : NFT_MSG.delSetElem;
  const number = beginNft(writer, message, adds ? NLM_F_CREATE : 0, NFT_SETS[set].family);
  writer.str(LIST.table, NFT_TABLE);
  writer.str(LIST.set, set);
  writer.nest(LIST.elements, () => {
    writer.nest(LIST_ELEM, () => {
      writer.nest(ELEMENT.key, () => writer.data(DATA_VALUE, key));
      if (adds && data !== undefined) writer.nest(ELEMENT.data, () => writer.data(DATA_VALUE, data));
    });
  });
  writer.end();
  return number;
}

/** The elements in one message of a dump or event; those that do not fit the set's type are left out. */
export function readElements(set: NftSetName, message: Message): NftElementItem[] {
  const type: NftSetType = NFT_SETS[set];
  const list = new Attributes(message.bytes, message.at + NFGENMSG_BYTES, message.end).data(LIST.elements);
  const items: NftElementItem[] = [];
  if (list === undefined) return items;
  for (let at = 0; at + 4 <= list.length; at += (list.readUInt16LE(at) + 3) & ~3) {
    const item = readElement(set, type, new Attributes(list, at + 4, at + list.readUInt16LE(at)));
    if (item !== undefined) items.push(item);
  }
  return items;
}

function readElement(set: NftSetName, type: NftSetType, element: Attributes): NftElementItem | undefined {
  const key = element.nest(ELEMENT.key)?.data(DATA_VALUE);
  const data = element.nest(ELEMENT.data)?.data(DATA_VALUE);
  if (key === undefined || (data === undefined) !== (type.data === undefined)) return undefined;
  try {
    const item = { kind: 'nft-element', set, key: decodeFields(type.key, key) } as const;
    return type.data === undefined || data === undefined
      ? item
      : { ...item, data: decodeFields(type.data, data) };
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** All elements of all our sets that are in the kernel. */
export function dumpElements(socket: NetlinkSocket): NftElementItem[] {
  return (Object.keys(NFT_SETS) as NftSetName[]).flatMap((set) => dumpSet(socket, set));
}

function dumpSet(socket: NetlinkSocket, set: NftSetName): NftElementItem[] {
  const writer = new MessageWriter();
  beginNft(writer, NFT_MSG.getSetElem, NLM_F_DUMP, NFT_SETS[set].family);
  writer.str(LIST.table, NFT_TABLE);
  writer.str(LIST.set, set);
  writer.end();
  try {
    return socket.dump(writer, (message) => readElements(set, message)).flat();
  } catch (error) {
    if (error instanceof NetlinkError && error.code === 'ENOENT') return [];
    throw error;
  }
}

/**
 * Applies all steps as one transaction. When the kernel refuses some, the rest goes in a second one; a step whose end
 * is already there (deleted, or present with the same data) is no failure, and one that finds other data replaces it.
 */
export function applyElements(socket: NetlinkSocket, steps: readonly ElementStep[]): ElementFailure[] {
  const failures: ElementFailure[] = [];
  let pending = steps.flatMap((step) => planStep(step, failures));
  for (let round = 1; pending.length > 0; round += 1) {
    const refused = commit(socket, pending);
    if (refused.size === 0) break;
    pending = pending.flatMap((plan) => {
      const refusal = refused.get(plan);
      if (refusal === undefined) return [plan];
      const rest = round < ROUNDS ? reconsider(plan, refusal) : undefined;
      if (rest === undefined) failures.push({ step: plan.step, refusal });
      return rest ?? [];
    });
  }
  return failures;
}

/** Commands for one step, in order. */
type Plan = {
  readonly step: ElementStep;
  readonly remove: EncodedElement | undefined;
  readonly add: EncodedElement | undefined;
};

/** What cannot be written fails here, before anything is sent. */
function planStep(step: ElementStep, failures: ElementFailure[]): Plan[] {
  try {
    const remove = step.op === 'add' ? undefined : encodeElement(step.was as NftElementItem);
    const add = step.op === 'remove' ? undefined : encodeElement(step.item as NftElementItem);
    return [{ step, add, remove }];
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    failures.push({ step, refusal: { code: 'EINVAL', reason: error.message } });
    return [];
  }
}

/** What is left to do of a refused step; undefined when nothing helps. */
function reconsider(plan: Plan, refusal: Refusal): Plan[] | undefined {
  const { add, remove } = plan;
  // Gone already; where the table itself is gone too, the addition that is left says so.
  if (refusal.code === 'ENOENT' && remove !== undefined) {
    return add === undefined ? [] : [{ ...plan, remove: undefined }];
  }
  // There, with other data.
  if (refusal.code === 'EEXIST' && add !== undefined && remove === undefined)
    return [{ ...plan, remove: add }];
  return undefined;
}

/** One transaction of all plans. It took effect when nothing was refused, and else not at all. */
function commit(socket: NetlinkSocket, plans: readonly Plan[]): Map<Plan, Refusal> {
  for (let attempt = 1; ; attempt += 1) {
    const refused = send(socket, plans);
    const code = refused.values().next().value?.code;
    // More than the send buffer holds, or more refusals than the receive buffer; a half that is repeated although it took effect does no harm.
    if ((code === 'ENOBUFS' || code === 'EMSGSIZE') && plans.length > 1) {
      const middle = plans.length >> 1;
      return new Map([...commit(socket, plans.slice(0, middle)), ...commit(socket, plans.slice(middle))]);
    }
    if ((code !== 'ERESTART' && code !== 'EINTR') || attempt === ATTEMPTS) return refused;
  }
}

function send(socket: NetlinkSocket, plans: readonly Plan[]): Map<Plan, Refusal> {
  const writer = new MessageWriter();
  const owners = new Map<number, Plan>();
  transaction(writer, () => {
    for (const plan of plans) {
      if (plan.remove !== undefined) owners.set(writeElement(writer, 'delete', plan.remove), plan);
      if (plan.add !== undefined) owners.set(writeElement(writer, 'add', plan.add), plan);
    }
  });
  const refused = new Map<Plan, Refusal>();
  try {
    for (const [number, refusal] of socket.transact(writer).refusals) {
      const owner = owners.get(number);
      if (owner !== undefined && !refused.has(owner)) refused.set(owner, refusal);
      // Of the batch's begin or end: refused as a whole (EPERM, ENOMEM, ERESTART). Below 0: of an earlier send.
      if (owner === undefined && number >= 0) return new Map(plans.map((plan) => [plan, refusal]));
    }
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    const refusal = { errno: error.errno, code: error.code, reason: error.message };
    return new Map(plans.map((plan) => [plan, refusal]));
  }
  return refused;
}
