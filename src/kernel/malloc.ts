/** Memory that libc has and nobody uses. */
import koffi from 'koffi';

let trim: (() => number) | undefined;

/**
 * Gives it back to the kernel (malloc_trim(3)): what large answers stood in stays with the process otherwise, as something small
 * behind it is still in use. Takes some milliseconds. C libraries other than GNU's keep none.
 */
export function trimMemory(): void {
  trim ??= findTrim();
  trim();
}

function findTrim(): () => number {
  try {
    const raw = koffi.load(null).func('int malloc_trim(size_t pad)') as unknown as (pad: number) => number;
    return () => raw(0);
  } catch {
    return () => 0;
  }
}
