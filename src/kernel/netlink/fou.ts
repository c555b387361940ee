/**
 * UDP ports at which the kernel unwraps tunnels (GUE), over generic netlink (include/uapi/linux/fou.h). They carry no name:
 * ours are those bound to a local address that also refuse partial checksums of the other side, which nobody sends.
 */
import type { FouPortItem } from '#model/host.ts';
import { addressFamily, addressFromBytes } from '#net/address.ts';
import { beginGeneric, genericAttributes } from './generic.ts';
import { type Message, type MessageWriter, NLM_F_DUMP } from './message.ts';

export const FOU_GENL_NAME = 'fou';
const VERSION = 1;
const FOU_CMD = { add: 1, delete: 2, get: 3 } as const;
const FOU_ATTR = { port: 1, family: 2, type: 4, remcsumNoPartial: 5, local4: 6, local6: 7 } as const;
const FOU_ENCAP_GUE = 2;
const AF_INET = 2;
const AF_INET6 = 10;

function put(writer: MessageWriter, family: number, command: number, item: FouPortItem): void {
  const four = addressFamily(item.local) === 4;
  beginGeneric(writer, { family, command, version: VERSION, flags: 0 });
  writer.u8(FOU_ATTR.family, four ? AF_INET : AF_INET6);
  writer.u16be(FOU_ATTR.port, item.port);
  writer.u8(FOU_ATTR.type, FOU_ENCAP_GUE);
  writer.address(four ? FOU_ATTR.local4 : FOU_ATTR.local6, item.local);
  if (command === FOU_CMD.add) writer.flag(FOU_ATTR.remcsumNoPartial);
  writer.end();
}

export function putFouPort(writer: MessageWriter, family: number, item: FouPortItem): void {
  put(writer, family, FOU_CMD.add, item);
}

export function removeFouPort(writer: MessageWriter, family: number, was: FouPortItem): void {
  put(writer, family, FOU_CMD.delete, was);
}

export function askFouPorts(writer: MessageWriter, family: number): void {
  beginGeneric(writer, { family, command: FOU_CMD.get, version: VERSION, flags: NLM_F_DUMP });
  writer.end();
}

/** Undefined for everybody else's. */
export function readFouPort(message: Message): FouPortItem | undefined {
  const attributes = genericAttributes(message);
  const six = attributes.u8(FOU_ATTR.family) === AF_INET6;
  const local = attributes.data(six ? FOU_ATTR.local6 : FOU_ATTR.local4);
  const ours = attributes.u8(FOU_ATTR.type) === FOU_ENCAP_GUE && attributes.has(FOU_ATTR.remcsumNoPartial);
  if (!ours || local === undefined || local.every((byte) => byte === 0)) return undefined;
  return { kind: 'fou-port', local: addressFromBytes(local), port: attributes.u16be(FOU_ATTR.port) ?? 0 };
}
