/**
 * The twins: test files that need more of a kernel than this host's may have run in virtual machines with Debian's
 * kernel (test/vm). Each test of a guest is a test here; one that is skipped there too fails.
 */
import assert from 'node:assert/strict';
import { execPath } from 'node:process';
import { test, type TestContext } from 'node:test';
import { FEATURES } from '../vm/features.ts';
import { provideKernel, type GuestKernel } from '../vm/kernel.ts';
import { runInMachine, whyNoMachine } from '../vm/machine.ts';
import { complaintOf, parseReport, type Report } from '../vm/report.ts';
import { MACHINES, type Twin, twinsIn } from '../vm/twins.ts';
import { whyNoKernel } from './namespace.ts';
import { whyNoTartan } from './node.ts';

const skip = whyNoKernel() ?? whyNoTartan() ?? whyNoMachine() ?? false;
const tell = (line: string): void => console.error(`# vm: ${line}`);

/** Newer first: it lacks nothing that the older has. */
async function anyKernel(): Promise<GuestKernel> {
  try {
    return await provideKernel('6.12', tell);
  } catch (problem) {
    tell(`${(problem as Error).message}; trying 6.1`);
    return provideKernel('6.1', tell);
  }
}

async function runTwins(kernel: GuestKernel, twins: readonly Twin[]): Promise<Report[]> {
  const reports: Report[] = [];
  const onLine = (line: string): void => {
    const report = parseReport(line);
    if (report === undefined) return tell(line);
    reports.push(report);
    const verdict = complaintOf(report) === undefined ? 'ok' : 'NOT OK';
    tell(`${verdict} ${report.file} ${report.path.join(' › ')} (${report.milliseconds} ms)`);
  };
  const modules = twins.flatMap(({ needs }) => needs).flatMap((name) => FEATURES[name].modules);
  const argv = [execPath, 'test/vm/guest/run-tests.ts', ...twins.map(({ file }) => file)];
  const run = (): ReturnType<typeof runInMachine> => runInMachine(kernel, { argv, modules }, { onLine });
  const { code } = await run().catch((error: unknown) => {
    // Kernels patch their own code while others run it, which emulated processors get wrong now and then.
    tell(`the machine died, once more: ${String(error).slice(0, 2000)}`);
    reports.length = 0;
    return run();
  });
  assert.equal(code, 0, 'exit code of test/vm/guest/run-tests.ts in the machine');
  return reports;
}

async function repeat(t: TestContext, reports: readonly Report[]): Promise<void> {
  assert.ok(reports.length > 0, 'the guest told nothing about it');
  for (const report of reports)
    await t.test(report.path.join(' › ') || 'the file', () => {
      const complaint = complaintOf(report);
      if (complaint !== undefined) throw new Error(complaint);
    });
}

let known: Promise<GuestKernel> | undefined;

for (const machine of MACHINES) {
  test(`the twins, under QEMU: ${machine}`, { skip, timeout: 1_850_000 }, async (t) => {
    let kernel: GuestKernel;
    try {
      kernel = await (known ??= anyKernel());
    } catch (problem) {
      tell(`SKIPPED: ${(problem as Error).message}`);
      return t.skip((problem as Error).message);
    }
    const twins = twinsIn(machine);
    tell(`booting Linux ${kernel.release}: ${machine}`);
    const reports = await runTwins(kernel, twins);
    for (const { file } of twins)
      await t.test(file, (t) =>
        repeat(
          t,
          reports.filter((report) => report.file === file),
        ),
      );
  });
}
