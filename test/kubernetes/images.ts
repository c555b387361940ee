/** An image with the Node that runs the tests and what it is linked to, besides busybox: for pods that are programs of ours. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeImage, type Entry } from '../runtimes/image.ts';

export const NODE_IMAGE = 'tartan.test/node:1';

const relative = (path: string): string => path.replace(/^\//, '');

/** The shared libraries of a program, and its loader, at their paths. */
function librariesOf(program: string): string[] {
  const lines = execFileSync('ldd', [program], { encoding: 'utf8' }).split('\n');
  return lines.flatMap((line) => /(\/\S+) \(0x/.exec(line)?.[1] ?? []);
}

const executable = (path: string, name = path): Entry => ({
  name: relative(name),
  kind: 'file',
  data: readFileSync(path),
  mode: 0o755,
});

/** Writes the image NODE_IMAGE to `file`: `node` on its PATH, and the programs of ./pods in /pods. */
export function writeNodeImage(file: string): void {
  const program = (name: string): Entry => ({
    name: `pods/${name}`,
    kind: 'file',
    data: readFileSync(join(import.meta.dirname, 'pods', name)),
  });
  const libraries = librariesOf(process.execPath).map((path) => executable(path));
  writeImage(file, NODE_IMAGE, [executable(process.execPath, '/bin/node'), ...libraries, program('dns.ts')]);
}
