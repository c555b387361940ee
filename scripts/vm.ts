/**
 * `node scripts/vm.ts [--kernel 6.1|6.12] COMMAND…`: runs a command under a Debian kernel in QEMU, in this directory, and
 * ends with its exit code. `node scripts/vm.ts node_modules/.bin/node --test test/host/x.test.ts` tests there.
 */
import { provideKernel } from '../test/vm/kernel.ts';
import { runInMachine, whyNoMachine } from '../test/vm/machine.ts';

const words = process.argv.slice(2);
const series = words[0] === '--kernel' ? words.splice(0, 2)[1] : '6.12';

const why = whyNoMachine();
if (why !== undefined || words.length === 0 || (series !== '6.1' && series !== '6.12')) {
  console.error(why ?? 'usage: node scripts/vm.ts [--kernel 6.1|6.12] COMMAND…');
  process.exitCode = 2;
} else {
  const kernel = await provideKernel(series, (line) => console.error(`# ${line}`));
  const onLine = (line: string): void => console.log(line);
  const { code } = await runInMachine(
    kernel,
    { argv: words, directory: process.cwd() },
    { onLine, timeoutMs: 3_600_000 },
  );
  process.exitCode = code;
}
