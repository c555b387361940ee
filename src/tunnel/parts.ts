/**
 * Bodies that came in parts. A part is a body of its own: kind u8 · index u8 · count u8 · zero · number u32 · bytes. What is not
 * complete soon is pushed out by what comes later: a lost part costs its packet, and nobody can fill the memory.
 */

export const PART_BYTES = 8;
/** The longest body that is put together: a hint and 1280 bytes, with room. */
export const LONGEST_BODY = 2048;
const MOST_PARTS = 8;
const MOST_WAITING = 64;

type Waiting = { readonly parts: (Buffer | undefined)[]; missing: number; bytes: number };

export class Parts {
  readonly #waiting = new Map<string, Waiting>();

  /** The whole body, once its last part came; undefined before, and for what is no part. `sender` tells peers apart. */
  take(sender: number, body: Buffer): Buffer | undefined {
    if (body.length <= PART_BYTES) return undefined;
    const [index, count] = [body.readUInt8(1), body.readUInt8(2)];
    if (index >= count || count > MOST_PARTS) return undefined;
    const key = `${sender} ${body.readUInt32LE(4)} ${count}`;
    const waiting = this.#waiting.get(key) ?? this.#begin(key, count);
    if (waiting.parts[index] !== undefined) return undefined;
    waiting.parts[index] = Buffer.from(body.subarray(PART_BYTES));
    waiting.missing -= 1;
    waiting.bytes += body.length - PART_BYTES;
    if (waiting.missing > 0 && waiting.bytes <= LONGEST_BODY) return undefined;
    this.#waiting.delete(key);
    return waiting.bytes > LONGEST_BODY
      ? undefined
      : Buffer.concat(waiting.parts.filter((part) => part !== undefined));
  }
  #begin(key: string, count: number): Waiting {
    const [oldest] = this.#waiting.keys();
    if (this.#waiting.size >= MOST_WAITING && oldest !== undefined) this.#waiting.delete(oldest);
    const waiting = { parts: Array<Buffer | undefined>(count).fill(undefined), missing: count, bytes: 0 };
    this.#waiting.set(key, waiting);
    return waiting;
  }
}
