/**
 * States and policies of IPsec in one namespace. A key is asked for when its state is made and goes nowhere but to the kernel;
 * whoever has the keys gives each out once, so that no state is ever made a second time with a key that sealed packets
 * (RFC 4106 section 3.1: an IV must not repeat under a key).
 */
import type { Step } from '#model/diff.ts';
import { type Item, keyOf, type XfrmPolicyItem, type XfrmStateItem } from '#model/host.ts';
import type { Change, Failure } from './kernel.ts';
import { type Message, MessageWriter, readMessages } from './netlink/message.ts';
import { NetlinkError, openNetlink, type NetlinkSocket } from './netlink/socket.ts';
import { XFRM_MSG } from './netlink/xfrm.ts';
import {
  addPolicy,
  askPolicies,
  askPolicy,
  readDeletedPolicy,
  readPolicy,
  removePolicy,
  replacePolicy,
} from './netlink/xfrm-policy.ts';
import {
  askState,
  askStates,
  putState,
  readDeletedState,
  readState,
  removeState,
} from './netlink/xfrm-state.ts';
import { NETLINK_XFRM, SysError } from './sys.ts';
import { keepPort, keptPorts, releasePort } from './xfrm-port.ts';

export type XfrmKeys = {
  /** 32 bytes of key and 4 of salt, for the first who asks; undefined: there is no such key, or it was taken before. */
  take(name: string): Uint8Array | undefined;
  /** No state was made with what was taken; the code is the kernel's (EEXIST: the SPI is somebody else's). */
  giveBack(name: string, code: string): void;
};

const NO_KEYS: XfrmKeys = { take: () => undefined, giveBack: () => {} };
/** Message groups of NETLINK_XFRM: expiries, states, policies. */
export const XFRM_GROUPS = [2, 3, 4] as const;

export class Xfrm implements Disposable {
  readonly #run: <T>(work: () => T) => T;
  readonly #keys: XfrmKeys;
  readonly #writer = new MessageWriter();
  #socket: NetlinkSocket | undefined;
  /** The kernel has no NETLINK_XFRM. */
  #lacking = false;
  #hasPort = false;

  constructor(run: <T>(work: () => T) => T, keys: XfrmKeys = NO_KEYS) {
    this.#run = run;
    this.#keys = keys;
  }
  [Symbol.dispose](): void {
    this.#socket?.[Symbol.dispose]();
  }

  /** Whether it was used: a pod's namespace is not looked at for what nobody put there. */
  get opened(): boolean {
    return this.#socket !== undefined;
  }

  /** States show without the names of their keys. */
  observe(): Item[] {
    const socket = this.#open();
    if (socket === undefined) return [];
    const dump = (ask: (writer: MessageWriter) => void, read: typeof readItem): Item[] => {
      this.#writer.clear();
      ask(this.#writer);
      return socket.dump(this.#writer, read);
    };
    const states = dump(askStates, readItem);
    // Nobody looks through all processes of a host for a port that nothing comes to.
    this.#hasPort ||= states.some((item) => item.kind === 'xfrm-state' && item.sourcePort !== undefined);
    const ports = this.#hasPort ? this.#run(keptPorts).map(({ item }) => item) : [];
    return [...states, ...dump(askPolicies, readItem), ...ports];
  }

  /** Tries every step, in order. */
  apply(steps: readonly Step[]): Failure[] {
    return steps.flatMap((step) => {
      try {
        this.#do(step);
        return [];
      } catch (error) {
        if (!(error instanceof NetlinkError || error instanceof SysError)) throw error;
        return [{ step, code: error.code, message: error.message }];
      } finally {
        // The buffer may hold a key, and lives long.
        this.#writer.bytes.fill(0);
      }
    });
  }

  #do(step: Step): void {
    if (step.op !== 'add') this.#remove(step, step.was);
    if (step.op === 'remove') return;
    const { item } = step;
    if (item.kind === 'xfrm-state') this.#addState(item);
    else if (item.kind === 'xfrm-policy') this.#putPolicy(item, step.op);
    else if (item.kind === 'esp-port') {
      this.#hasPort = true;
      this.#run(() => keepPort(item));
    }
  }

  /** A policy that is replaced never goes before its successor is there. */
  #remove(step: Step, was: Item): void {
    try {
      if (was.kind === 'esp-port') this.#run(() => releasePort(was));
      else if (was.kind === 'xfrm-state') this.#request((writer) => removeState(writer, was));
      else if (was.kind === 'xfrm-policy' && step.op === 'remove')
        this.#request((writer) => removePolicy(writer, was));
    } catch (error) {
      if (!isCode(error, 'ESRCH', 'ENOENT', 'EPROTONOSUPPORT')) throw error;
    }
  }

  #addState(item: XfrmStateItem): void {
    // One that was only not seen has the key already.
    if (this.#isThere(askState, item)) return;
    const key = this.#keys.take(item.key);
    if (key === undefined) throw refused('ENOKEY', 126, `there is no unused key ${item.key}`);
    try {
      this.#request((writer) => putState(writer, item, key));
    } catch (error) {
      // Without the kernel's word the state may be there.
      if (error instanceof NetlinkError) this.#keys.giveBack(item.key, error.code);
      throw error;
    } finally {
      key.fill(0);
    }
  }

  /** One of ours that was only not seen is replaced; a stranger's for the same packets stays, and the step has failed. */
  #putPolicy(item: XfrmPolicyItem, op: Step['op']): void {
    try {
      this.#request((writer) => (op === 'add' ? addPolicy : replacePolicy)(writer, item));
    } catch (error) {
      if (!isCode(error, 'EEXIST') || !this.#isThere(askPolicy, item)) throw error;
      this.#request((writer) => replacePolicy(writer, item));
    }
  }

  /** Whether one of ours has the item's identity. */
  #isThere<T extends Item>(ask: (writer: MessageWriter, item: T) => void, item: T): boolean {
    try {
      const found = this.#request((writer) => ask(writer, item), readItem);
      return found.some((each) => keyOf(each) === keyOf(item));
    } catch (error) {
      if (isCode(error, 'ESRCH', 'ENOENT')) return false;
      throw error;
    }
  }

  #request<T = never>(
    pack: (writer: MessageWriter) => void,
    read?: (message: Message) => T | undefined,
  ): T[] {
    const socket = this.#open();
    if (socket === undefined) throw refused('EPROTONOSUPPORT', 93, 'the kernel lacks IPsec (XFRM)');
    this.#writer.clear();
    pack(this.#writer);
    return socket.request(this.#writer, read);
  }

  #open(): NetlinkSocket | undefined {
    if (this.#lacking) return undefined;
    try {
      return (this.#socket ??= this.#run(() => openNetlink(NETLINK_XFRM)));
    } catch (error) {
      if (!(error instanceof SysError) || error.code !== 'EPROTONOSUPPORT') throw error;
      this.#lacking = true;
      return undefined;
    }
  }
}

/** What the item would be, were the name of its key known: no comparison looks at it (#model/host.ts). */
function unnamed(state: Omit<XfrmStateItem, 'key'> | undefined): XfrmStateItem | undefined {
  return state === undefined ? undefined : { ...state, key: '' };
}

function readItem({ type, bytes, at, end }: Message): XfrmStateItem | XfrmPolicyItem | undefined {
  if (type === XFRM_MSG.newState || type === XFRM_MSG.updateState) return unnamed(readState(bytes, at, end));
  if (type === XFRM_MSG.newPolicy || type === XFRM_MSG.updatePolicy) return readPolicy(bytes, at, end);
  return undefined;
}

function readGone({ type, bytes, at, end }: Message): XfrmStateItem | XfrmPolicyItem | undefined {
  if (type === XFRM_MSG.deleteState) return unnamed(readDeletedState(bytes, at, end));
  return type === XFRM_MSG.deletePolicy ? readDeletedPolicy(bytes, at, end) : undefined;
}

const SWEEPING: ReadonlySet<number> = new Set([XFRM_MSG.flushState, XFRM_MSG.flushPolicy, XFRM_MSG.expire]);

/** The changes that one datagram of events tells of. */
export function xfrmChanges(datagram: Buffer): Change[] {
  const changes: Change[] = [];
  for (const message of readMessages(datagram)) {
    if (SWEEPING.has(message.type)) return [{ type: 'resync' }];
    const seen = readItem(message);
    const gone = readGone(message);
    const item = seen ?? gone;
    if (item !== undefined) changes.push({ type: 'item', key: keyOf(item), seen });
  }
  return changes;
}

function isCode(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof NetlinkError && codes.includes(error.code);
}

function refused(code: string, errno: number, reason: string): NetlinkError {
  return new NetlinkError({ code, errno, reason: `${code}: ${reason}` });
}
