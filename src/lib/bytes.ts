/**
 * Bounds-checked cursors over bytes, for kernel messages. Integers are little- or big-endian as the method name
 * says; netlink headers are host-endian, and the supported hosts (x64, arm64) are little-endian.
 */

/** Reads forward over a buffer; reading past the end throws RangeError. */
export class ByteReader {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  offset: number;
  readonly end: number;

  constructor(bytes: Uint8Array, offset = 0, end = bytes.byteLength) {
    if (offset < 0 || end > bytes.byteLength || offset > end)
      throw new RangeError('window outside the buffer');
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.offset = offset;
    this.end = end;
  }
  get remaining(): number {
    return this.end - this.offset;
  }
  #take(size: number): number {
    if (size < 0 || this.offset + size > this.end) {
      throw new RangeError(`wanted ${size} bytes, ${this.remaining} left`);
    }
    const at = this.offset;
    this.offset += size;
    return at;
  }
  u8(): number {
    return this.view.getUint8(this.#take(1));
  }
  u16(): number {
    return this.view.getUint16(this.#take(2), true);
  }
  u16be(): number {
    return this.view.getUint16(this.#take(2), false);
  }
  u32(): number {
    return this.view.getUint32(this.#take(4), true);
  }
  i32(): number {
    return this.view.getInt32(this.#take(4), true);
  }
  u32be(): number {
    return this.view.getUint32(this.#take(4), false);
  }
  u64(): bigint {
    return this.view.getBigUint64(this.#take(8), true);
  }
  /** A view (not a copy) of the next `size` bytes. */
  take(size: number): Uint8Array {
    const at = this.#take(size);
    return this.bytes.subarray(at, at + size);
  }
  skip(size: number): void {
    this.#take(size);
  }
}

/** Text up to the first NUL (or the end). */
export function cString(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}

export function bytesToHex(bytes: Uint8Array): string {
  let out = '';
  for (const byte of bytes) out += byte.toString(16).padStart(2, '0');
  return out;
}
