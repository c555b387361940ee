/** What a process runs, as a name: two with one name run the same. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

export function programOf(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex').slice(0, 16);
}
