/** Addresses that were released and rest until their links are gone and their quarantine is over, also over a restart. */
import { bootId } from '../boot.ts';
import type { Ledger } from '../pods/attachments.ts';
import type { Attachment } from '#model/attachment.ts';
import { type Address, parseAddress } from '#net/address.ts';
import { prefixAddress } from '#net/prefix.ts';

export type AddressLedger = Pick<Ledger, 'list' | 'listMeta' | 'getMeta' | 'setMeta' | 'noteMeta'>;

/** Name in the ledger. */
const RESTING = 'resting ';

/** Attachments whose addresses are from our own pools. */
export function allocatedIn(ledger: Pick<Ledger, 'list'>): Attachment[] {
  return ledger
    .list()
    .filter(({ delegatedIpam, wiring }) => delegatedIpam === undefined && wiring !== 'chained');
}

export class Resting implements Iterable<Address> {
  readonly #ledger: AddressLedger;
  /** Without quarantine the attachment is in the ledger for as long as its addresses rest: they need no notes. */
  readonly #isNoted: boolean;
  readonly #addresses = new Set<Address>();
  /** Of a predecessor, and no attachment is left that settles them: the owner does, once they have rested. */
  readonly orphans: readonly Address[];

  constructor(ledger: AddressLedger, quarantineSeconds: number) {
    this.#ledger = ledger;
    this.#isNoted = quarantineSeconds > 0;
    const boot = bootId();
    for (const { phase, bootId, addresses } of allocatedIn(ledger))
      if (phase !== 'ready' && bootId === boot) for (const ip of addresses) this.add(prefixAddress(ip));
    const noted = [...ledger.listMeta().keys()].filter((name) => name.startsWith(RESTING));
    this.orphans = noted
      .map((name) => parseAddress(name.slice(RESTING.length)))
      .filter((ip) => ip !== undefined && !this.#addresses.has(ip)) as Address[];
    for (const ip of this.orphans) this.#addresses.add(ip);
  }

  add(ip: Address): void {
    this.#addresses.add(ip);
    if (this.#isNoted) this.#ledger.setMeta(`${RESTING}${ip}`, 'yes');
  }
  delete(ip: Address): void {
    this.#addresses.delete(ip);
    this.#ledger.setMeta(`${RESTING}${ip}`, undefined);
  }
  [Symbol.iterator](): IterableIterator<Address> {
    return this.#addresses.values();
  }
}
