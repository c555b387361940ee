/**
 * Addresses for pods out of the blocks that this node holds addresses of. Mostly one is at hand and nobody is asked; when none is,
 * more are obtained from the store first. The ledger says which pod has which, as with subnets.
 */
import type { AddressAllocator, AddressRequest, Allocation, PrefixUsage } from './allocator.ts';
import type { BlockHolder, Scene } from './blocks-holder.ts';
import type { BlocksScene } from './blocks-scene.ts';
import { type LookUp, type PodWishes, readWishes } from './blocks-wishes.ts';
import { type AddressLedger, allocatedIn, Resting } from './resting.ts';
import { freeOf } from '#ipam/blocks/block.ts';
import { nextMove } from '#ipam/blocks/move.ts';
import type { Clock } from '#lib/clock.ts';
import { attachmentId } from '#model/attachment.ts';
import { Fault, toFault } from '#model/fault.ts';
import { POD_GATEWAY } from '#model/numbers.ts';
import type { Settings } from '#model/settings.ts';
import {
  address,
  type Address,
  addressBits,
  addressFamily,
  type Family,
  parseAddress,
} from '#net/address.ts';
import { families } from '#net/per-family.ts';
import {
  contains,
  type InterfaceAddress,
  interfaceAddress,
  type Prefix,
  prefixAddress,
} from '#net/prefix.ts';

export type BlockAllocatorOptions = {
  readonly settings: Settings;
  readonly lookUp: LookUp;
  readonly clock: Clock;
  readonly ledger: AddressLedger;
  readonly holder: BlockHolder;
  readonly scene: BlocksScene;
  /** What this node holds is known. */
  readonly isKnown: () => boolean;
  /** More or fewer addresses are spare than before. */
  readonly onChange: () => void;
};

/** Name in the ledger, before a block. */
const LAST = 'last-address ';

export class BlockAllocator implements AddressAllocator {
  readonly #options: BlockAllocatorOptions;
  readonly #resting: Resting;
  readonly orphans: Iterable<Address>;

  constructor(options: BlockAllocatorOptions) {
    this.#options = options;
    const { ledger, settings, holder } = options;
    for (const attachment of allocatedIn(ledger)) {
      const owner = attachmentId(attachment);
      for (const ip of attachment.addresses) holder.shelf.adopt(owner, prefixAddress(ip));
      if (attachment.phase !== 'ready') holder.shelf.release(owner);
    }
    this.#resting = new Resting(ledger, settings.addresses.quarantineSeconds);
    for (const ip of this.#resting) holder.shelf.rest(ip);
    this.orphans = this.#resting.orphans;
  }

  async allocate(owner: string, request: AddressRequest): Promise<Allocation> {
    const { settings, lookUp, isKnown, holder } = this.#options;
    if ((request.sets ?? []).length > 0)
      throw new Fault('cni-config', 'address ranges are refused: this node takes addresses of blocks', {
        problems: [{ path: 'ipam.ranges', message: 'name pools instead: ipam.ipv4_pools, ipam.ipv6_pools' }],
      });
    if (!isKnown()) throw new Fault('not-ready', 'the blocks of this node are not known yet');
    const wishes = await readWishes(lookUp, request.pod);
    await this.#askAgain();
    const want = { request, wishes, wanted: firstOf(request.wanted, wishes.addresses) };
    const used = families(settings.network.subnets);
    refuseFamilies(want.wanted, used);
    const before = used.filter((family) => holder.shelf.addressOf(owner, family) !== undefined);
    try {
      const taken: Address[] = [];
      for (const family of used) taken.push(await this.#take(owner, family, want));
      this.#options.onChange();
      return {
        addresses: taken.map((ip) => interfaceAddress(ip, addressBits(addressFamily(ip)))),
        gateways: used.map((family) => address(POD_GATEWAY[family])),
      };
    } catch (error) {
      // Nobody has seen it. One of a family without the other's is nobody's wish.
      if (before.length === 0) for (const ip of holder.shelf.release(owner)) holder.shelf.settle(ip);
      throw error;
    }
  }

  /** A store that was out of reach for long may have given what this node holds to others, when somebody said that the node is gone. */
  async #askAgain(): Promise<void> {
    const { holder, clock, settings } = this.#options;
    const patienceMs = (settings.addresses.blocks.reclaimSeconds * 1000) / 2;
    if (clock.monotonicMs() - holder.askedAtMs <= patienceMs) return;
    await holder.verify(holder.shelf.blocks()).catch((error: unknown) => {
      throw new Fault(
        'not-ready',
        `the store cannot be asked what this node holds: ${toFault(error).message}`,
      );
    });
  }

  async #take(owner: string, family: Family, want: Want): Promise<Address> {
    const { scene, holder } = this.#options;
    const wanted = want.wanted.find((ip) => addressFamily(ip) === family);
    const present = holder.shelf.addressOf(owner, family);
    if (present !== undefined) {
      if (wanted === undefined || wanted === present) return present;
      throw new Fault('address-taken', `${owner} holds ${present} and cannot have ${wanted} too`);
    }
    const named = firstOf(want.request.pools?.[family], want.wishes.pools[family] ?? []);
    const place = scene.of(family, { namespace: want.wishes.namespace, named });
    if (wanted === undefined) return this.#takeAny(owner, place);
    return this.#takeThis(owner, wanted, named.length > 0 ? place : scene.any(family));
  }

  /** What is at hand; else more is obtained, which others who waited may have done by then. */
  async #takeAny(owner: string, place: Scene): Promise<Address> {
    const { holder, ledger } = this.#options;
    const obtain = async (): Promise<Address> => {
      for (;;) {
        const found = this.#next(owner, place);
        if (found !== undefined) return found;
        await holder.obtain(place);
      }
    };
    const taken = this.#next(owner, place) ?? (await holder.exclusively(obtain));
    const block = holder.index.at(taken)?.prefix;
    if (block !== undefined) ledger.noteMeta(`${LAST}${block}`, taken);
    return taken;
  }

  #next(owner: string, { pools, reserved }: Scene): Address | undefined {
    const { holder } = this.#options;
    const blocks = pools.flatMap(({ prefix }) =>
      holder.shelf.blocks().filter((one) => contains(prefix, one)),
    );
    return holder.shelf.take(owner, blocks, (ip) => !reserved.some((each) => contains(each, ip)));
  }

  async #takeThis(owner: string, wanted: Address, place: Scene): Promise<Address> {
    const { holder, settings } = this.#options;
    const { shelf } = holder;
    if (settings.addresses.exclude.some((each) => contains(each, wanted)))
      throw new Fault('address-taken', `${wanted} is in addresses.exclude`);
    if (!place.pools.some(({ prefix }) => contains(prefix, wanted)))
      throw new Fault('address-taken', `${wanted} is in no pool that this pod may use`);
    const holds = shelf.ownerOf(wanted);
    if (holds !== undefined) throw new Fault('address-taken', `${wanted} is held by ${holds}`);
    if (shelf.isResting(wanted))
      throw new Fault('address-taken', `${wanted} was released and its link is not gone yet`);
    if (shelf.takeThis(owner, wanted)) return wanted;
    const isTaken = await holder.exclusively(async () => {
      await holder.obtain(place, wanted);
      return shelf.takeThis(owner, wanted);
    });
    if (isTaken) return wanted;
    throw new Fault('address-taken', `${wanted} was taken by another pod at the same time`);
  }

  release(owner: string): void {
    for (const ip of this.#options.holder.shelf.release(owner)) this.#resting.add(ip);
  }
  settle(addresses: readonly InterfaceAddress[]): void {
    for (const ip of addresses) this.settleOne(prefixAddress(ip));
  }
  settleOne(ip: Address): void {
    this.#resting.delete(ip);
    this.#options.holder.shelf.settle(ip);
    this.#options.onChange();
  }

  /** The address of a block that was handed out last. */
  lastOf(block: Prefix): Address | undefined {
    return parseAddress(this.#options.ledger.getMeta(`${LAST}${block}`) ?? '');
  }

  problems(): string[] {
    const { settings, scene, isKnown, holder } = this.#options;
    if (!isKnown()) return [];
    return families(settings.network.subnets).flatMap((family) => {
      const place = scene.of(family, { namespace: {} });
      const blocks = place.pools.flatMap(({ prefix }) =>
        holder.shelf.blocks().filter((one) => contains(prefix, one)),
      );
      if (blocks.some((block) => holder.shelf.spareOf(block).length > 0)) return [];
      const move = nextMove({ ...place, index: holder.index, node: holder.node });
      if (move.type !== 'none') return [];
      return [`no IPv${family} address is left: ${move.why.map(({ message }) => message).join('; ')}`];
    });
  }

  usages(): PrefixUsage[] {
    const { holder } = this.#options;
    return holder.shelf.blocks().map((prefix) => {
      const { held, used, resting } = holder.shelf.usageOf(prefix);
      const block = holder.index.get(prefix);
      const borrowed = block?.node !== holder.node;
      const open = block === undefined || borrowed ? 0 : freeOf(block).length;
      const free = held - used - resting + open;
      return { prefix, usage: { capacity: held + open, used, quarantined: resting, free }, borrowed };
    });
  }
}

type Want = {
  readonly request: AddressRequest;
  readonly wishes: PodWishes;
  readonly wanted: readonly Address[];
};

function firstOf<T>(first: readonly T[] | undefined, second: readonly T[]): readonly T[] {
  return first !== undefined && first.length > 0 ? first : second;
}

function refuseFamilies(wanted: readonly Address[], used: readonly Family[]): void {
  const foreign = wanted.filter((ip) => !used.includes(addressFamily(ip)));
  if (foreign.length === 0) return;
  throw new Fault('cni-config', 'requested addresses are of a family that is not in use', {
    problems: foreign.map((ip) => ({ path: 'ips', message: `IPv${addressFamily(ip)} is not in use` })),
  });
}
