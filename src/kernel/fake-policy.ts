/** A policy table in memory: what it is told it holds, and it refuses deltas that do not fit, as the kernel does. */
import type { ChainRule, PolicyDelta, PolicyProgram } from '#model/policy-program.ts';
import type { Denial } from './nftables/policy/denied.ts';
import type { PolicyTable } from './nftables/policy/policy.ts';
import { NetlinkError } from './netlink/socket.ts';

export class FakePolicyTable implements PolicyTable {
  readonly fd = -1;
  entries: Map<string, string> | undefined;
  #chains = new Map<string, readonly ChainRule[]>();
  denial: Denial | undefined;
  /** The next so many loads are refused. */
  refusals = 0;

  replacePolicy(program: PolicyProgram): void {
    this.#refuse();
    this.entries = new Map(program.entries);
    this.#chains = new Map(program.chains);
  }

  loadPolicy({ entries, addChains, removeChains }: PolicyDelta): void {
    this.#refuse();
    const after = new Map(this.entries);
    for (const [key, { was, value }] of entries) {
      if (after.get(key) !== was) throw refusal(was === undefined ? 'EEXIST' : 'ENOENT', key);
      if (value === undefined) after.delete(key);
      else after.set(key, value);
    }
    this.entries = after;
    for (const [name, rules] of addChains) this.#chains.set(name, rules);
    for (const name of removeChains) this.#chains.delete(name);
  }

  dumpPolicy(): ReturnType<PolicyTable['dumpPolicy']> {
    const program = {
      entries: new Map(this.entries),
      chains: this.#chains,
      reasons: new Map(),
      logs: new Map(),
    };
    return { program, counts: new Map(), intact: this.entries !== undefined };
  }

  removePolicy(): void {
    this.entries = undefined;
    this.#chains.clear();
  }
  isOwned(): boolean {
    return true;
  }
  answers: Parameters<PolicyTable['showAnswers']>[0];
  showAnswers(watch: Parameters<PolicyTable['showAnswers']>[0]): void {
    this.answers = watch;
  }
  answerWay(): ReturnType<PolicyTable['answerWay']> {
    return 'hold';
  }
  changeDenial(denial: Denial): void {
    this.denial = denial;
  }
  canLog(): boolean {
    return true;
  }
  close(): void {}

  #refuse(): void {
    if (this.refusals === 0) return;
    this.refusals -= 1;
    throw refusal('ENOMEM', 'the test says so');
  }
}

function refusal(code: string, reason: string): NetlinkError {
  return new NetlinkError({ errno: 0, code, reason });
}
