/**
 * Everything that is wrong with one request. The code of the answer is that of the first finding, so a request is
 * looked at in the order in which the CNI reference reports. The message names all findings of that code (CNI spec,
 * "Error": codes 2 and 4 ask for it), the details hold those of every code.
 */
import { Fault, type FaultCode, listProblems, type Problem } from '#model/fault.ts';

const MESSAGES = {
  'cni-environment': 'the CNI_* environment is not valid',
  io: 'the input cannot be read',
  'cni-decode': 'the network configuration cannot be decoded',
  'cni-config': 'the network configuration is not valid',
  'cni-version': 'the CNI version is not supported',
  'cni-field': 'the network configuration asks for something that Tartan does not do',
} as const satisfies Partial<Record<FaultCode, string>>;
export type FindingCode = keyof typeof MESSAGES;

export class Findings {
  readonly #found: { readonly code: FindingCode; readonly problem: Problem }[] = [];

  add(code: FindingCode, path: string, message: string): void {
    this.#found.push({ code, problem: { path, message } });
  }

  addAll(code: FindingCode, problems: readonly Problem[]): void {
    for (const { path, message } of problems) this.add(code, path, message);
  }

  /** Runs `decode`; a Fault that it throws becomes findings and the answer undefined. */
  attempt<T>(code: FindingCode, decode: () => T): T | undefined {
    try {
      return decode();
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      this.addAll(error.code in MESSAGES ? (error.code as FindingCode) : code, error.problems);
      return undefined;
    }
  }

  throwIfAny(): void {
    const [first] = this.#found;
    if (first === undefined) return;
    const problems = this.#found.map(({ problem }) => problem);
    const coded = this.#found.filter(({ code }) => code === first.code).map(({ problem }) => problem);
    throw new Fault(first.code, `${MESSAGES[first.code]}: ${listProblems(coded).join('; ')}`, { problems });
  }
}
