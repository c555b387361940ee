/** Generic netlink (include/uapi/linux/genetlink.h): families have names, and numbers that are found out first. */
import { Attributes, type Message, type MessageWriter } from './message.ts';
import { NetlinkError, type NetlinkSocket } from './socket.ts';

const GENL_ID_CTRL = 16;
const CTRL_CMD_GETFAMILY = 3;
const CTRL_ATTR_FAMILY_ID = 1;
const CTRL_ATTR_FAMILY_NAME = 2;
/** struct genlmsghdr. */
const HEADER = 4;

export type GenericCommand = {
  readonly family: number;
  readonly command: number;
  readonly version: number;
  readonly flags: number;
};

/** Begins a message; attributes and `end` are the caller's. */
export function beginGeneric(
  writer: MessageWriter,
  { family, command, version, flags }: GenericCommand,
): void {
  writer.begin(family, flags);
  writer.put8(command);
  writer.put8(version);
  writer.put16(0);
}

/** The attributes of a received message. */
export function genericAttributes({ bytes, at, end }: Message): Attributes {
  return new Attributes(bytes, at + HEADER, end);
}

/** The family's number; the kernel loads the module for it. Undefined where it has none. */
export function findFamily(socket: NetlinkSocket, writer: MessageWriter, name: string): number | undefined {
  writer.clear();
  beginGeneric(writer, { family: GENL_ID_CTRL, command: CTRL_CMD_GETFAMILY, version: 1, flags: 0 });
  writer.str(CTRL_ATTR_FAMILY_NAME, name);
  writer.end();
  try {
    const answers = socket.request(writer, (message) => genericAttributes(message).u16(CTRL_ATTR_FAMILY_ID));
    return answers[0];
  } catch (error) {
    if (error instanceof NetlinkError && error.code === 'ENOENT') return undefined;
    throw error;
  }
}
