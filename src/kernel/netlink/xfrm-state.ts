/**
 * States of IPsec (security associations; struct xfrm_usersa_info): ESP with AES-256-GCM (RFC 4106), extended sequence numbers
 * (RFC 4304). Keys are written and never read: the kernel tells them to root, and the attribute is passed over.
 */
import type { XfrmStateItem } from '#model/host.ts';
import { XFRM } from '#model/numbers.ts';
import { addressFamily } from '#net/address.ts';
import { Attributes, type MessageWriter, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL } from './message.ts';
import {
  familyOfNumber,
  IPPROTO_ESP,
  MODE,
  modeOf,
  numberOfFamily,
  put32be,
  putAddress,
  putLifetimes,
  putSelector,
  readAddress,
  XFRM_MSG,
  XFRMA,
} from './xfrm.ts';

const STATE_BYTES = 224;
/** struct xfrm_usersa_id. */
const ID_BYTES = 24;
/** Of struct xfrm_usersa_info. */
const AT = { id: 56, source: 80, requestId: 208, family: 212, mode: 214 } as const;
const XFRM_STATE_AF_UNSPEC = 32;
const XFRM_STATE_ESN = 128;
const AEAD = 'rfc4106(gcm(aes))';
const AEAD_NAME_BYTES = 64;
/** Length of GCM's tag. */
const ICV_BITS = 128;
const UDP_ENCAP_ESPINUDP = 2;

/** AES-256's key, then RFC 4106's four bytes of salt. */
export const XFRM_KEY_BYTES = 36;

/** Refused (EEXIST) where there is one already. */
export function putState(writer: MessageWriter, item: XfrmStateItem, key: Uint8Array): void {
  const { source, destination, spi, mode, ifId } = item;
  writer.begin(XFRM_MSG.newState, NLM_F_CREATE | NLM_F_EXCL);
  // A tunnel carries both families: which packets is said by policies.
  putSelector(writer, undefined);
  putAddress(writer, destination);
  put32be(writer, spi);
  put32be(writer, IPPROTO_ESP << 24);
  putAddress(writer, source);
  putLifetimes(writer);
  writer.putBytes(new Uint8Array(16));
  writer.put32(XFRM.requestId);
  writer.put16(numberOfFamily(addressFamily(destination)));
  writer.put8(MODE[mode]);
  writer.put8(0);
  writer.put8(XFRM_STATE_ESN | (mode === 'tunnel' ? XFRM_STATE_AF_UNSPEC : 0));
  writer.putBytes(new Uint8Array(STATE_BYTES - 217));
  putAead(writer, key);
  putReplay(writer, item.replayWindow);
  putEncapsulation(writer, item);
  if (ifId !== undefined) writer.u32(XFRMA.ifId, ifId);
  writer.end();
}

/** struct xfrm_algo_aead. */
function putAead(writer: MessageWriter, key: Uint8Array): void {
  const bytes = Buffer.alloc(AEAD_NAME_BYTES + 8 + key.length);
  bytes.write(AEAD);
  bytes.writeUInt32LE(key.length * 8, AEAD_NAME_BYTES);
  bytes.writeUInt32LE(ICV_BITS, AEAD_NAME_BYTES + 4);
  bytes.set(key, AEAD_NAME_BYTES + 8);
  writer.data(XFRMA.aead, bytes);
  bytes.fill(0);
}

/** struct xfrm_replay_state_esn: both directions begin at 0. */
function putReplay(writer: MessageWriter, window: number): void {
  const words = Math.ceil(window / 32);
  const bytes = Buffer.alloc(24 + words * 4);
  bytes.writeUInt32LE(words, 0);
  bytes.writeUInt32LE(window, 20);
  writer.data(XFRMA.replayEsn, bytes);
}

/** struct xfrm_encap_tmpl. */
function putEncapsulation(writer: MessageWriter, { sourcePort, destinationPort }: XfrmStateItem): void {
  if (sourcePort === undefined || destinationPort === undefined) return;
  const bytes = Buffer.alloc(24);
  bytes.writeUInt16LE(UDP_ENCAP_ESPINUDP, 0);
  bytes.writeUInt16BE(sourcePort, 2);
  bytes.writeUInt16BE(destinationPort, 4);
  writer.data(XFRMA.encapsulation, bytes);
}

function writeId(writer: MessageWriter, type: number, { destination, spi }: XfrmStateItem): void {
  writer.begin(type, 0);
  putAddress(writer, destination);
  put32be(writer, spi);
  writer.put16(numberOfFamily(addressFamily(destination)));
  writer.put8(IPPROTO_ESP);
  writer.put8(0);
  writer.end();
}

export function removeState(writer: MessageWriter, item: XfrmStateItem): void {
  writeId(writer, XFRM_MSG.deleteState, item);
}
export function askState(writer: MessageWriter, item: XfrmStateItem): void {
  writeId(writer, XFRM_MSG.getState, item);
}
export function askStates(writer: MessageWriter): void {
  writer.begin(XFRM_MSG.getState, NLM_F_DUMP);
  writer.end();
}

/** A state of ours; undefined for everybody else's. The name of its key is known to nobody but who made it. */
export function readState(bytes: Buffer, at: number, end: number): Omit<XfrmStateItem, 'key'> | undefined {
  const spi = bytes.readUInt32BE(at + AT.id + 16);
  // Without an SPI it only stands for packets that asked for one.
  if (bytes.readUInt32LE(at + AT.requestId) !== XFRM.requestId || spi === 0) return undefined;
  const family = familyOfNumber(bytes.readUInt16LE(at + AT.family));
  const attributes = new Attributes(bytes, at + STATE_BYTES, end);
  const ifId = attributes.u32(XFRMA.ifId) ?? 0;
  return {
    kind: 'xfrm-state',
    source: readAddress(bytes, at + AT.source, family),
    destination: readAddress(bytes, at + AT.id, family),
    spi,
    mode: modeOf(bytes.readUInt8(at + AT.mode)),
    replayWindow: attributes.data(XFRMA.replayEsn)?.readUInt32LE(20) ?? 0,
    ...readPorts(attributes.data(XFRMA.encapsulation)),
    ...(ifId === 0 ? {} : { ifId }),
  };
}

function readPorts(bytes: Buffer | undefined): Pick<XfrmStateItem, 'sourcePort' | 'destinationPort'> {
  if (bytes === undefined) return {};
  return { sourcePort: bytes.readUInt16BE(2), destinationPort: bytes.readUInt16BE(4) };
}

/** What XFRM_MSG_DELSA tells: the state as it was, in an attribute behind its id. */
export function readDeletedState(bytes: Buffer, at: number, end: number): ReturnType<typeof readState> {
  const attributes = new Attributes(bytes, at + ID_BYTES, end);
  const state = attributes.data(XFRMA.state);
  if (state === undefined) return undefined;
  return readState(state, 0, STATE_BYTES);
}
