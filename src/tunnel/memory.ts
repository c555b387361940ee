/**
 * A piece of memory that does not move, handed out once and never taken back: what system calls and ciphers read and write.
 * Places in it are offsets; `addressOf` makes a pointer of one. The kernel's structures in it are those of 64-bit
 * little-endian hosts (x64, arm64).
 */
import koffi from 'koffi';

/** sizeof(struct iovec) */
export const IOVEC_BYTES = 16;
const HIGH = 2 ** 32;

export class Memory {
  readonly bytes: Buffer;
  readonly view: DataView;
  readonly #base: number;
  #used = 0;

  constructor(size: number) {
    // Slow: of its own, not a part of Node's pool. Filled once, so that no page is missing on first use.
    this.bytes = Buffer.allocUnsafeSlow(size).fill(0);
    this.view = new DataView(this.bytes.buffer, this.bytes.byteOffset, size);
    this.#base = Number(koffi.address(this.bytes));
  }
  /** The offset of so many bytes, aligned to 8. Throws RangeError when there is no more. */
  reserve(size: number): number {
    const at = this.#used;
    this.#used += Math.ceil(size / 8) * 8;
    if (this.#used > this.bytes.length) throw new RangeError('memory is used up');
    return at;
  }
  /** User space ends at 2^47 (2^52 with LVA on arm64): a pointer is a safe integer. */
  addressOf(at: number): number {
    return this.#base + at;
  }
  setPointer(at: number, to: number): void {
    const pointer = this.#base + to;
    this.view.setUint32(at, pointer >>> 0, true);
    this.view.setUint32(at + 4, (pointer / HIGH) >>> 0, true);
  }
  /** The offset that a pointer written by `setPointer` stands for. */
  pointerAt(at: number): number {
    return this.view.getUint32(at, true) + this.view.getUint32(at + 4, true) * HIGH - this.#base;
  }
  /** `struct iovec`; `size` below 4 GB. */
  setPart(iovec: number, at: number, size: number): void {
    this.setPointer(iovec, at);
    this.view.setUint32(iovec + 8, size, true);
    this.view.setUint32(iovec + 12, 0, true);
  }
  /** A copy of what `count` iovecs name, joined. */
  gather(iovecs: number, count: number): Buffer {
    const parts = Array.from({ length: count }, (_, index) => {
      const iovec = iovecs + index * IOVEC_BYTES;
      const at = this.pointerAt(iovec);
      return this.bytes.subarray(at, at + this.view.getUint32(iovec + 8, true));
    });
    return Buffer.concat(parts);
  }
}
