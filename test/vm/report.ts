/** What the guest says of each test (guest/run-tests.ts prints, test/host/vm.test.ts reads): one line of JSON. */
export type Report = {
  readonly file: string;
  /** Suites, then the test; empty for the file as a whole. */
  readonly path: readonly string[];
  readonly milliseconds: number;
  /** Why it was skipped. */
  readonly skipped?: string;
  readonly failed?: string;
};

/** Lines of tests begin with this; all others are what the tests themselves said. */
const MARK = '#report ';

export function formatReport(report: Report): string {
  return `${MARK}${JSON.stringify(report)}\n`;
}

export function parseReport(line: string): Report | undefined {
  return line.startsWith(MARK) ? (JSON.parse(line.slice(MARK.length)) as Report) : undefined;
}

/** In the machine nothing may be skipped: it is there for what this host lacks. */
export function complaintOf({ failed, skipped }: Report): string | undefined {
  return failed ?? (skipped === undefined ? undefined : `skipped in the virtual machine too: ${skipped}`);
}
