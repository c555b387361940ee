/** `node scripts/root.ts WHAT`: ends with a clear message unless run by root on Linux. */
const what = process.argv[2] ?? 'this';
if (process.platform !== 'linux' || process.getuid?.() !== 0) {
  console.error(`${what} makes network namespaces: run it as root on Linux (sudo ${what})`);
  process.exitCode = 1;
}
