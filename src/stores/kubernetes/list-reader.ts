/**
 * A list of objects, read out of its JSON text as that comes: each object is parsed by itself, and only what is made of it is
 * kept, so that a list of 30 MB is never in memory, neither as a text nor as objects. What always holds: it says what
 * JSON.parse of the whole text would say, wherever the text is cut into chunks.
 *
 *     {"kind":"NodeList","metadata":{…},"items":[{…},{…}]}      objects begin at depth 2, in the list that stands in the
 *     1                             2           2 3            whole: a List has no other; what is not in them is its frame
 */
import type { KubernetesList, KubernetesObject } from './messages.ts';

const [QUOTE, BACKSLASH, COMMA, BRACKET] = [0x22, 0x5c, 0x2c, 0x5b];
/** Brackets and braces differ in this bit alone. */
const BRACE_BIT = 0x20;
const [OPEN, CLOSE] = [0x7b, 0x7d];
/** Of what stands in the list. */
const DEPTH = 2;

export type Page<T> = Omit<KubernetesList, 'items'> & { readonly items: readonly T[] };

export class ListReader<T> {
  readonly #read: (object: KubernetesObject) => T;
  readonly #items: T[] = [];
  readonly #frame: Buffer[] = [];
  /** Of the object that has begun. */
  #object: Buffer[] = [];
  #depth = 0;
  #isInList = false;
  #isInText = false;
  #isEscaped = false;

  constructor(read: (object: KubernetesObject) => T) {
    this.#read = read;
  }

  /** Throws SyntaxError where an object is none. */
  take(chunk: Buffer): void {
    let from = 0;
    let at = this.#isInText ? this.#endOfText(chunk, this.#isEscaped ? 1 : 0) + 1 : 0;
    for (; at < chunk.length; at += 1) {
      const byte = chunk[at] ?? 0;
      if (byte === QUOTE) at = this.#endOfText(chunk, at + 1);
      else if ((byte | BRACE_BIT) === OPEN) from = this.#open(chunk, from, at);
      else if ((byte | BRACE_BIT) === CLOSE) from = this.#close(chunk, from, at);
      else if (byte === COMMA && this.#isBetween()) from = at + 1;
    }
    this.#keep(chunk, from, chunk.length);
  }
  /** As `#close`, answers from where on nothing is kept yet. */
  #open(chunk: Buffer, from: number, at: number): number {
    const rest = this.#isBetween() ? this.#keep(chunk, from, at) : from;
    this.#isInList ||= chunk[at] === BRACKET && this.#depth === DEPTH - 1;
    this.#depth += 1;
    return rest;
  }
  #close(chunk: Buffer, from: number, at: number): number {
    this.#depth -= 1;
    const rest = this.#isBetween() ? this.#finish(chunk, from, at + 1) : from;
    this.#isInList &&= this.#depth >= DEPTH;
    return rest;
  }

  /** Throws SyntaxError where the text has been cut off. */
  end(): Page<T> {
    const frame = JSON.parse(Buffer.concat(this.#frame).toString('utf8')) as KubernetesList;
    return { ...frame, items: this.#items };
  }

  /** In the list, and in none of its objects. */
  #isBetween(): boolean {
    return this.#isInList && this.#depth === DEPTH;
  }

  /** Where the text ends that has begun before `from`; behind the chunk where it goes on. */
  #endOfText(chunk: Buffer, from: number): number {
    let at = from;
    for (; at < chunk.length && chunk[at] !== QUOTE; at += 1) if (chunk[at] === BACKSLASH) at += 1;
    this.#isInText = at >= chunk.length;
    this.#isEscaped = at > chunk.length;
    return at;
  }

  #keep(chunk: Buffer, from: number, to: number): number {
    const isOfObject = this.#isInList && this.#depth > DEPTH;
    if (from < to) (isOfObject ? this.#object : this.#frame).push(chunk.subarray(from, to));
    return to;
  }
  #finish(chunk: Buffer, from: number, to: number): number {
    this.#object.push(chunk.subarray(from, to));
    const text = Buffer.concat(this.#object).toString('utf8');
    this.#object = [];
    this.#items.push(this.#read(JSON.parse(text) as KubernetesObject));
    return to;
  }
}
