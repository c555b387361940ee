/**
 * Policies of IPsec (struct xfrm_userpolicy_info): which packets are sealed, must have been sealed, or are dropped. Ours are
 * known by their priority.
 */
import type { XfrmPolicyItem } from '#model/host.ts';
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
  readSelector,
  SELECTOR_BYTES,
  XFRM_MSG,
  XFRMA,
} from './xfrm.ts';

const POLICY_BYTES = 168;
/** struct xfrm_userpolicy_id. */
const ID_BYTES = 64;
/** Of struct xfrm_userpolicy_info. */
const AT = { priority: 152, direction: 160, action: 161 } as const;
/** Of struct xfrm_user_tmpl. */
const TEMPLATE = { spi: 16, family: 24, source: 28, mode: 48 } as const;
const DIRECTIONS = ['in', 'out', 'fwd'] as const satisfies readonly XfrmPolicyItem['direction'][];
const BLOCK = 1;
const ANY_ALGORITHM = 0xffff_ffff;

/** Refused (EEXIST) where one for the same packets stands, whoever made it. */
export function addPolicy(writer: MessageWriter, item: XfrmPolicyItem): void {
  writer.begin(XFRM_MSG.newPolicy, NLM_F_CREATE | NLM_F_EXCL);
  put(writer, item);
}

/** In the place of one for the same packets, without a moment in which there is none. */
export function replacePolicy(writer: MessageWriter, item: XfrmPolicyItem): void {
  writer.begin(XFRM_MSG.updatePolicy, 0);
  put(writer, item);
}

function put(writer: MessageWriter, item: XfrmPolicyItem): void {
  putSelector(writer, item);
  putLifetimes(writer);
  writer.put32(XFRM.priority[item.action]);
  writer.put32(0);
  writer.put8(DIRECTIONS.indexOf(item.direction));
  writer.put8(item.action === 'block' ? BLOCK : 0);
  writer.put16(0);
  writer.put32(0);
  if (item.action === 'seal') putTemplate(writer, item);
  putIfId(writer, item);
  writer.end();
}

/** struct xfrm_user_tmpl, of which there may be several. */
function putTemplate(writer: MessageWriter, { from, to, spi = 0, mode = 'tunnel' }: XfrmPolicyItem): void {
  writer.nest(XFRMA.template, () => {
    putAddress(writer, to);
    put32be(writer, spi);
    put32be(writer, IPPROTO_ESP << 24);
    writer.put16(numberOfFamily(to === undefined ? 4 : addressFamily(to)));
    writer.put16(0);
    putAddress(writer, from);
    writer.put32(XFRM.requestId);
    writer.put8(MODE[mode]);
    writer.putBytes(new Uint8Array(3));
    for (let algorithm = 0; algorithm < 3; algorithm += 1) writer.put32(ANY_ALGORITHM);
  });
}

function putIfId(writer: MessageWriter, { ifId }: XfrmPolicyItem): void {
  if (ifId !== undefined) writer.u32(XFRMA.ifId, ifId);
}

function writeId(writer: MessageWriter, type: number, item: XfrmPolicyItem): void {
  writer.begin(type, 0);
  putSelector(writer, item);
  writer.put32(0);
  writer.put8(DIRECTIONS.indexOf(item.direction));
  writer.putBytes(new Uint8Array(3));
  putIfId(writer, item);
  writer.end();
}

export function removePolicy(writer: MessageWriter, item: XfrmPolicyItem): void {
  writeId(writer, XFRM_MSG.deletePolicy, item);
}
export function askPolicy(writer: MessageWriter, item: XfrmPolicyItem): void {
  writeId(writer, XFRM_MSG.getPolicy, item);
}
export function askPolicies(writer: MessageWriter): void {
  writer.begin(XFRM_MSG.getPolicy, NLM_F_DUMP);
  writer.end();
}

/** A policy of ours; undefined for everybody else's. */
export function readPolicy(bytes: Buffer, at: number, end: number): XfrmPolicyItem | undefined {
  return readWith(bytes, at, new Attributes(bytes, at + POLICY_BYTES, end));
}

/** What XFRM_MSG_DELPOLICY tells: the policy as it was, in an attribute behind its id. */
export function readDeletedPolicy(bytes: Buffer, at: number, end: number): XfrmPolicyItem | undefined {
  const attributes = new Attributes(bytes, at + ID_BYTES, end);
  const policy = attributes.data(XFRMA.policy);
  return policy === undefined ? undefined : readWith(policy, 0, attributes);
}

function readWith(bytes: Buffer, at: number, attributes: Attributes): XfrmPolicyItem | undefined {
  const direction = DIRECTIONS[bytes.readUInt8(at + AT.direction)];
  const action = bytes.readUInt8(at + AT.action) === BLOCK ? 'block' : 'seal';
  // Sockets' own policies have other directions.
  if (bytes.readUInt32LE(at + AT.priority) !== XFRM.priority[action] || direction === undefined)
    return undefined;
  const ifId = attributes.u32(XFRMA.ifId) ?? 0;
  return {
    kind: 'xfrm-policy',
    direction,
    ...readSelector(bytes.subarray(at, at + SELECTOR_BYTES), 0),
    ...(ifId === 0 ? {} : { ifId }),
    action,
    ...readTemplate(attributes.data(XFRMA.template)),
  };
}

function readTemplate(bytes: Buffer | undefined): Pick<XfrmPolicyItem, 'from' | 'to' | 'spi' | 'mode'> {
  if (bytes === undefined || bytes.length < TEMPLATE.mode) return {};
  const family = familyOfNumber(bytes.readUInt16LE(TEMPLATE.family));
  const spi = bytes.readUInt32BE(TEMPLATE.spi);
  return {
    from: readAddress(bytes, TEMPLATE.source, family),
    to: readAddress(bytes, 0, family),
    ...(spi === 0 ? {} : { spi }),
    mode: modeOf(bytes.readUInt8(TEMPLATE.mode)),
  };
}
