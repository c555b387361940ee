/** What the maps and chains of a program answer for one subject, asked as the data plane asks. */
import {
  type ChainRule,
  type Decided,
  type PolicyProgram,
  type Reason,
  type Span,
} from '#model/policy-program.ts';
import type { Flow } from '#model/verdict.ts';
import { type Address, addressFamily, addressValue } from '#net/address.ts';
import { WITH_PORTS } from './condition.ts';
import { isIcmp } from './grid.ts';
import { rangesOf } from './ranges.ts';

export type Answer = {
  readonly decided: Decided;
  /** The entry that decided, whose counter counts the flow; undefined when there was none, which denies. */
  readonly entry?: string;
  /** The rule of a chain that the entry leads to: `c7 0`. */
  readonly rule?: string;
  readonly reason?: Reason;
};

const DECIDED: readonly Decided[] = ['allow', 'early', 'untracked'];

export function answer(program: PolicyProgram, subject: string, flow: Flow, peer: Address): Answer {
  const { entries } = program;
  const number = entries.get(`pair ${subject} ${classOf(program, peer)}`) ?? entries.get(`alone ${subject}`);
  const entry = number === undefined ? undefined : findEntry(program, number, flow);
  if (entry === undefined) return { decided: 'deny' };
  const value = entries.get(entry) ?? '';
  const chain = program.chains.get(value);
  if (chain !== undefined) return askChain(program, flow, { entry, name: value, chain });
  const decided = DECIDED.find((each) => each === value) ?? 'deny';
  return { decided, entry, ...about(program, entry) };
}

/** `peer net`, as keys have it. */
export function classOf(program: PolicyProgram, address: Address): string {
  const family = addressFamily(address);
  const byAddress = program.entries.get(`peer${family} ${address}`) ?? '0';
  return `${byAddress} ${lookUpRange(program, `net${family}`, address) ?? '0'}`;
}

function about({ reasons }: PolicyProgram, key: string): { readonly reason?: Reason } {
  const reason = reasons.get(key);
  return reason === undefined ? {} : { reason };
}

function findEntry(program: PolicyProgram, number: string, flow: Flow): string | undefined {
  const { protocol, destinationPort } = flow;
  const port = WITH_PORTS.includes(protocol) ? destinationPort : undefined;
  const exact = `port ${number} ${protocol} ${port}`;
  if (port !== undefined && program.entries.has(exact)) return exact;
  const range =
    port === undefined
      ? undefined
      : rangesOf(program.entries).find(`ports ${number} ${protocol}`, BigInt(port));
  return (
    range ?? [`protocol ${number} ${protocol}`, `rest ${number}`].find((key) => program.entries.has(key))
  );
}

type At = { readonly entry: string; readonly name: string; readonly chain: readonly ChainRule[] };

function askChain(program: PolicyProgram, flow: Flow, { entry, name, chain }: At): Answer {
  const index = chain.findIndex((rule) => rule.verdict !== undefined && matches(rule, flow));
  const rule = `${name} ${index}`;
  return { decided: chain[index]?.verdict ?? 'deny', entry, rule, ...about(program, rule) };
}

function matches({ of, x, y }: ChainRule, flow: Flow): boolean {
  if (of === undefined) return true;
  const values = of === 'icmp' ? [flow.icmp?.type, flow.icmp?.code] : [flow.destinationPort, flow.sourcePort];
  if (of === 'icmp' && !isIcmp(flow.protocol)) return false;
  return isWithin(x, values[0]) && isWithin(y, values[1]);
}

function isWithin(span: Span | undefined, value: number | undefined): boolean {
  return span === undefined || (value !== undefined && span[0] <= value && value <= span[1]);
}

function lookUpRange(program: PolicyProgram, map: string, address: Address): string | undefined {
  const key = rangesOf(program.entries).find(map, addressValue(address));
  return key === undefined ? undefined : program.entries.get(key);
}
