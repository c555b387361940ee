/** One reader of one log: says what there is to say as fast as it is taken, and holds nothing back for later. */
import type { ServerHttp2Stream } from 'node:http2';
import { type Cursor, textOf } from './log.ts';
import type { Followed } from './logs.ts';
import type { Known } from '#stores/relay/lines.ts';

/** So much is handed over at once. */
const CHUNK = 64 << 10;

export class Reader {
  readonly #stream: ServerHttp2Stream;
  readonly #followed: Followed;
  readonly #cursor: Cursor;
  /** Since when it has taken nothing, monotonic; undefined: it takes. */
  blockedSinceMs: number | undefined;
  readonly #now: () => number;

  constructor(
    stream: ServerHttp2Stream,
    followed: Followed,
    { known, now }: { known: Known; now: () => number },
  ) {
    this.#stream = stream;
    this.#followed = followed;
    this.#cursor = followed.log.read(known);
    this.#now = now;
    const tell = (): void => this.#speak();
    followed.round.readers.add(tell);
    stream.on('drain', () => {
      this.blockedSinceMs = undefined;
      this.#speak();
    });
    stream.on('close', () => followed.round.readers.delete(tell));
    tell();
  }
  cut(): void {
    this.#stream.destroy();
  }

  #speak(): void {
    while (!this.#stream.destroyed && !this.#stream.writableEnded && this.blockedSinceMs === undefined) {
      if (this.#cursor.isLost) return void this.#stream.destroy();
      const texts = this.#cursor.take(CHUNK);
      if (texts.length === 0) return this.#sayLost();
      const whole = texts.length === 1 ? texts[0] : Buffer.concat(texts);
      if (!this.#stream.write(whole)) this.blockedSinceMs = this.#now();
    }
  }
  #sayLost(): void {
    const { lost } = this.#followed;
    if (lost !== undefined) this.#stream.end(textOf({ lost }));
  }
}
