/** A reporter for the test runner: the files in which a test failed, one a line. */
import { relative } from 'node:path';
import type { TestEvent } from 'node:test/reporters';

// oxlint-disable-next-line import/no-default-export -- how the runner finds a reporter
export default async function* nameFailedFiles(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const named = new Set<string>();
  for await (const { type, data } of events) {
    if (type !== 'test:fail') continue;
    // A file whose process died is told as a test of that name.
    const file = relative('.', data.file ?? data.name);
    if (!named.has(file)) yield `${file}\n`;
    named.add(file);
  }
}
