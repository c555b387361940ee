/**
 * The addresses that this node holds, and its pods out of them. Each held address is in exactly one state:
 *
 *     obtained ─▶ spare ──take──▶ used ──release──▶ resting ──settle──▶ spare (last of its block) ─▶ given back
 *
 * A pod's address is used (or rests) also when the node does not hold it, which can only be the ledger's doing: such an address
 * is never spare.
 */
import type { Address, Family } from '#net/address.ts';
import { addressFamily, compareAddresses } from '#net/address.ts';
import type { Prefix } from '#net/prefix.ts';

export type ShelfUsage = { readonly held: number; readonly used: number; readonly resting: number };

export class Shelf {
  /** Held addresses, and the block that each is of. */
  readonly #blockOf = new Map<Address, Prefix>();
  readonly #held = new Map<Prefix, Set<Address>>();
  readonly #spare = new Map<Prefix, Set<Address>>();
  readonly #used = new Map<Address, string>();
  readonly #byOwner = new Map<string, Set<Address>>();
  readonly #resting = new Set<Address>();

  /** The node holds these of the block and no others. `after`: those behind it come first. Answers what it lost in use. */
  setHeld(block: Prefix, addresses: readonly Address[], after?: Address): Address[] {
    const now = new Set(addresses);
    const lost = [...(this.#held.get(block) ?? [])].filter((address) => !now.has(address));
    for (const address of lost) this.#drop(block, address);
    const fresh = addresses.filter((address) => this.#blockOf.get(address) !== block);
    for (const address of rotate(fresh, after)) this.#hold(block, address);
    return lost.filter((address) => this.#used.has(address) || this.#resting.has(address));
  }

  #hold(block: Prefix, address: Address): void {
    this.#blockOf.set(address, block);
    addTo(this.#held, block, address);
    if (!this.#used.has(address) && !this.#resting.has(address)) addTo(this.#spare, block, address);
  }
  #drop(block: Prefix, address: Address): void {
    this.#blockOf.delete(address);
    removeFrom(this.#held, block, address);
    removeFrom(this.#spare, block, address);
  }

  /** The ledger says that the owner has it, held or not. */
  adopt(owner: string, address: Address): void {
    this.#resting.delete(address);
    this.#use(owner, address);
  }
  /** The ledger says that it rests. */
  rest(address: Address): void {
    this.#resting.add(address);
    const block = this.#blockOf.get(address);
    if (block !== undefined) removeFrom(this.#spare, block, address);
  }

  /** The owner's address of the family, if it has one. */
  addressOf(owner: string, family: Family): Address | undefined {
    return [...(this.#byOwner.get(owner) ?? [])].find((address) => addressFamily(address) === family);
  }
  ownerOf(address: Address): string | undefined {
    return this.#used.get(address);
  }
  isSpare(address: Address): boolean {
    const block = this.#blockOf.get(address);
    return block !== undefined && this.#spare.get(block)?.has(address) === true;
  }
  isResting(address: Address): boolean {
    return this.#resting.has(address);
  }

  /** The next spare address of these blocks, in their order, that suits. */
  take(owner: string, blocks: readonly Prefix[], suits: (address: Address) => boolean): Address | undefined {
    for (const block of blocks) {
      for (const address of this.#spare.get(block) ?? []) {
        if (suits(address)) return this.#use(owner, address);
      }
    }
    return undefined;
  }
  /** False when it is not spare. */
  takeThis(owner: string, address: Address): boolean {
    if (!this.isSpare(address)) return false;
    this.#use(owner, address);
    return true;
  }
  #use(owner: string, address: Address): Address {
    const block = this.#blockOf.get(address);
    if (block !== undefined) removeFrom(this.#spare, block, address);
    this.#used.set(address, owner);
    addTo(this.#byOwner, owner, address);
    return address;
  }

  /** The owner's addresses rest until `settle`. */
  release(owner: string): Address[] {
    const addresses = [...(this.#byOwner.get(owner) ?? [])];
    this.#byOwner.delete(owner);
    for (const address of addresses) {
      this.#used.delete(address);
      this.#resting.add(address);
    }
    return addresses;
  }
  /** It has rested; others are left as they are. */
  settle(address: Address): void {
    if (!this.#resting.delete(address)) return;
    const block = this.#blockOf.get(address);
    if (block !== undefined) addTo(this.#spare, block, address);
  }

  blocks(): Prefix[] {
    return [...this.#held.keys()];
  }
  /** The next first. */
  spareOf(block: Prefix): Address[] {
    return [...(this.#spare.get(block) ?? [])];
  }
  heldOf(block: Prefix): Address[] {
    return [...(this.#held.get(block) ?? [])];
  }
  usageOf(block: Prefix): ShelfUsage {
    const held = this.heldOf(block);
    return {
      held: held.length,
      used: held.filter((address) => this.#used.has(address)).length,
      resting: held.filter((address) => this.#resting.has(address)).length,
    };
  }
  /** Used or resting, whether held or not. */
  inUse(): Address[] {
    return [...this.#used.keys(), ...this.#resting];
  }
}

function rotate(addresses: readonly Address[], after: Address | undefined): readonly Address[] {
  if (after === undefined) return addresses;
  const isLate = (address: Address): boolean => compareAddresses(address, after) > 0;
  return [...addresses.filter(isLate), ...addresses.filter((address) => !isLate(address))];
}

function addTo<K, V>(sets: Map<K, Set<V>>, key: K, value: V): void {
  const members = sets.get(key);
  if (members === undefined) sets.set(key, new Set([value]));
  else members.add(value);
}

function removeFrom<K, V>(sets: Map<K, Set<V>>, key: K, value: V): void {
  const members = sets.get(key);
  if (members?.delete(value) === true && members.size === 0) sets.delete(key);
}
