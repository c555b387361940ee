/** What concerns several settings of the controller at once. */
import type { Wrong } from './cross-checks.ts';
import type { RawSettings } from './schema.ts';

/** Clocks may differ in rate by what is left of the duration; a renewal may fail once. */
export function checkController({ controller: { lease } }: RawSettings): Wrong[] {
  const { durationSeconds, deadlineSeconds, retrySeconds } = lease;
  const errors: Wrong[] = [];
  const say = (setting: keyof typeof lease, message: string): number =>
    errors.push({ path: ['controller', 'lease', setting], message });
  if (deadlineSeconds * 1.25 > durationSeconds)
    say('deadlineSeconds', `must be at most four fifths of durationSeconds (${durationSeconds})`);
  if (retrySeconds * 2 > deadlineSeconds)
    say('retrySeconds', `must be at most half of deadlineSeconds (${deadlineSeconds})`);
  return errors;
}
