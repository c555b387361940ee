/** IPsec's keys as the rest of the agent sees them: opened when the road is first taken, which a live switch may do late. */
import type { Host } from '../host/host.ts';
import type { IpsecKeys } from './ipsec-keys.ts';
import type { XfrmKeys } from '#kernel/xfrm.ts';
import { toFault } from '#model/fault.ts';
import type { IpsecSelf } from '#model/ipsec.ts';

type Listened = Pick<Host, 'wanted' | 'seen' | 'onPass' | 'onDissent'>;

export class IpsecRoad implements XfrmKeys {
  readonly #open: (nudge: () => void) => IpsecKeys;
  #keys: IpsecKeys | undefined;
  #nudge: () => void = () => undefined;
  /** Why there are no keys, as it was told. */
  #problem: string | undefined;

  constructor(open: (nudge: () => void) => IpsecKeys) {
    this.#open = open;
  }

  /** Listens to the host, and has everything planned and told anew (`resync`) when names change. */
  follow({ host, resync }: { readonly host: Listened; readonly resync: () => void }): void {
    this.#nudge = resync;
    host.onPass = () => (this.#keys?.hasNews === true ? () => this.#notePass(host) : undefined);
    // Two peers' states at this node have one SPI.
    host.onDissent = ({ key, refused }) => {
      if (key.startsWith('xfrm-state ')) this.#keys?.rename(refused.slice('peer/'.length));
    };
  }

  /** As the file of secrets is now; undefined without one. Throws Fault `io`, once for the same reason. */
  self(): IpsecSelf | undefined {
    try {
      this.#keys ??= this.#open(() => this.#nudge());
    } catch (error) {
      const { message } = toFault(error);
      if (message === this.#problem) return undefined;
      this.#problem = message;
      throw error;
    }
    this.#keys.reload();
    return this.#keys.self;
  }

  take(name: string): Uint8Array | undefined {
    return this.#keys?.take(name);
  }

  giveBack(name: string, code: string): void {
    this.#keys?.giveBack(name, code);
  }

  /** A pass that began with a secret that peers do not know has ended. */
  #notePass({ wanted, seen }: Pick<Host, 'wanted' | 'seen'>): void {
    for (const [key, { kind }] of wanted) if (kind === 'xfrm-state' && !seen.has(key)) return;
    this.#keys?.noteProgrammed();
  }
}
