/** Ethernet (EUI-48) addresses as canonical text: six lower-case octets with colons. */
export type Mac = string & { readonly __brand: 'Mac' };

/** The address, or undefined; accepts `:` and `-` as separators and either case. */
export function parseMac(text: string): Mac | undefined {
  if (!/^[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}$/.test(text)) return undefined;
  return text.toLowerCase().replaceAll('-', ':') as Mac;
}

/** For literals in code and tests: throws TypeError on text that is not a MAC address. */
export function mac(text: string): Mac {
  const parsed = parseMac(text);
  if (parsed === undefined) throw new TypeError(`not a MAC address: ${JSON.stringify(text)}`);
  return parsed;
}

export function macBytes(mac: Mac): Uint8Array {
  const bytes = new Uint8Array(6);
  for (let octet = 0; octet < 6; octet += 1) {
    bytes[octet] = nibble(mac, octet * 3) * 16 + nibble(mac, octet * 3 + 1);
  }
  return bytes;
}

/** The hexadecimal digit there: 0 to 9 are 0x30 and on, a to f 0x61 and on. */
function nibble(mac: Mac, at: number): number {
  const code = mac.charCodeAt(at);
  return code > 0x39 ? code - 0x57 : code - 0x30;
}

const OCTETS = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

/** From six bytes; throws RangeError on any other length. */
export function macFromBytes(bytes: Uint8Array): Mac {
  if (bytes.length !== 6) throw new RangeError(`${bytes.length} bytes are no MAC address`);
  let text = '';
  for (const byte of bytes) text += text === '' ? OCTETS[byte] : `:${OCTETS[byte]}`;
  return text as Mac;
}

/** Not a group address and not all zeros: may stand on an interface. */
export function isUnicastMac(mac: Mac): boolean {
  return (Number.parseInt(mac.slice(0, 2), 16) & 1) === 0 && mac !== '00:00:00:00:00:00';
}

/**
 * A locally administered unicast address (IEEE 802: second-least bit of the first octet set, least clear) from the low
 * 46 bits of a hash: the same text always gives the same address.
 */
export function localMac(hash: bigint): Mac {
  const bytes = new Uint8Array(6);
  let value = hash;
  for (let index = 5; index >= 0; index -= 1) {
    bytes[index] = Number(value & 0xffn);
    value >>= 8n;
  }
  bytes[0] = ((bytes[0] ?? 0) & 0xfc) | 0x02;
  return macFromBytes(bytes);
}
