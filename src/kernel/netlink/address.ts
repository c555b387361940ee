/** Interface addresses over rtnetlink (include/uapi/linux/if_addr.h), marked by IFA_PROTO where the kernel has it. */
import { addressFamily, addressFromBytes } from '#net/address.ts';
import type { AddressItem } from '#model/host.ts';
import { ROUTE_PROTOCOL } from '#model/numbers.ts';
import type { UnderlayAddress } from '#model/underlay.ts';
import { type InterfaceAddress, interfaceAddress, prefixAddress, prefixLength } from '#net/prefix.ts';
import { Attributes, type Message, type MessageWriter, NLM_F_CREATE, NLM_F_REPLACE } from './message.ts';
import type { LinkNames } from './names.ts';

export const RTM_NEWADDR = 20;
export const RTM_DELADDR = 21;
export const RTM_GETADDR = 22;

const AF_INET = 2;
const AF_INET6 = 10;
const HEADER = 8;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_FLAGS = 8;
const IFA_PROTO = 11;
const FLAG = {
  temporary: 0x01,
  nodad: 0x02,
  dadFailed: 0x08,
  deprecated: 0x20,
  tentative: 0x40,
  permanent: 0x80,
};
const RT_SCOPE_LINK = 253;
const RT_SCOPE_HOST = 254;

function encode(writer: MessageWriter, item: AddressItem, names: LinkNames): void {
  const address = prefixAddress(item.address);
  writer.put8(addressFamily(address) === 4 ? AF_INET : AF_INET6);
  writer.put8(prefixLength(item.address));
  writer.put8(0);
  writer.put8(0);
  writer.put32(names.index(item.link));
  writer.address(IFA_LOCAL, address);
  writer.address(IFA_ADDRESS, address);
}

/** Adds the address, or changes its flags. */
export function putAddress(writer: MessageWriter, item: AddressItem, names: LinkNames): void {
  writer.begin(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE);
  encode(writer, item, names);
  if (item.nodad === true) writer.u32(IFA_FLAGS, FLAG.nodad);
  writer.u8(IFA_PROTO, ROUTE_PROTOCOL);
  writer.end();
}

export function removeAddress(writer: MessageWriter, item: AddressItem, names: LinkNames): void {
  writer.begin(RTM_DELADDR, 0);
  encode(writer, item, names);
  writer.end();
}

/** An address as the kernel has it. */
export type AddressRow = {
  readonly index: number;
  readonly address: InterfaceAddress;
  readonly flags: number;
  readonly scope: number;
  /** Carries our mark. */
  readonly marked: boolean;
};

export function readAddress({ bytes, at, end }: Message): AddressRow | undefined {
  const attributes = new Attributes(bytes, at + HEADER, end);
  const raw = attributes.data(IFA_LOCAL) ?? attributes.data(IFA_ADDRESS);
  if (raw === undefined) return undefined;
  return {
    index: bytes.readInt32LE(at + 4),
    address: interfaceAddress(addressFromBytes(raw), bytes.readUInt8(at + 1)),
    flags: attributes.u32(IFA_FLAGS) ?? bytes.readUInt8(at + 2),
    scope: bytes.readUInt8(at + 3),
    marked: attributes.u8(IFA_PROTO) === ROUTE_PROTOCOL,
  };
}

/**
 * Whether the address is ours to change: it is marked, or stands on a link of ours and the kernel did not make it
 * itself (IPv6 link-local).
 */
export function isOurAddress(row: AddressRow, onOurLink: boolean): boolean {
  return row.marked || (onOurLink && !(row.address.includes(':') && row.scope === RT_SCOPE_LINK));
}

export function addressItem(row: AddressRow, link: string): AddressItem {
  const nodad = (row.flags & FLAG.nodad) !== 0;
  return { kind: 'address', link, address: row.address, ...(row.address.includes(':') ? { nodad } : {}) };
}

export function underlayAddress(row: AddressRow): UnderlayAddress {
  const has = (flag: number): boolean => (row.flags & flag) !== 0;
  const ipv6 = row.address.includes(':');
  return {
    address: row.address,
    scope: row.scope === RT_SCOPE_HOST ? 'host' : row.scope === RT_SCOPE_LINK ? 'link' : 'global',
    dynamic: !has(FLAG.permanent),
    temporary: ipv6 && has(FLAG.temporary),
    deprecated: has(FLAG.deprecated),
    tentative: has(FLAG.tentative | FLAG.dadFailed),
  };
}
