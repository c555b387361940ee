/** Link names and indices of one network namespace, asked of the kernel once and kept until `forget`. */
import { ioctl, SysError } from '../sys.ts';

/** include/uapi/linux/sockios.h; struct ifreq is a name of 16 bytes, then here the index. */
const SIOCGIFNAME = 0x8910;
const SIOCGIFINDEX = 0x8933;
const IFREQ_BYTES = 40;
const IFNAMSIZ = 16;

export class LinkNames {
  readonly #fd: number;
  readonly #indices = new Map<string, number>();
  readonly #names = new Map<number, string>();
  readonly #request = Buffer.alloc(IFREQ_BYTES);

  /** Any socket of the namespace serves. */
  constructor(fd: number) {
    this.#fd = fd;
  }
  /** The link's index; throws SysError ENODEV. */
  index(name: string): number {
    const known = this.#indices.get(name);
    if (known !== undefined) return known;
    if (Buffer.byteLength(name) >= IFNAMSIZ) throw new SysError(`link ${name}`, 19);
    this.#request.fill(0).write(name);
    ioctl(this.#fd, SIOCGIFINDEX, this.#request);
    const index = this.#request.readInt32LE(IFNAMSIZ);
    this.learn(index, name);
    return index;
  }
  /** The link's name; undefined when there is no such link any more. */
  name(index: number): string | undefined {
    const known = this.#names.get(index);
    if (known !== undefined) return known;
    this.#request.fill(0).writeInt32LE(index, IFNAMSIZ);
    try {
      ioctl(this.#fd, SIOCGIFNAME, this.#request);
    } catch {
      return undefined;
    }
    const name = this.#request.toString('utf8', 0, this.#request.indexOf(0));
    this.learn(index, name);
    return name;
  }
  learn(index: number, name: string): void {
    this.#indices.set(name, index);
    this.#names.set(index, name);
  }
  forget(): void {
    this.#indices.clear();
    this.#names.clear();
  }
}
