/**
 * The enumerated places of ADD, DEL, a change of the road and a take-over between which the agent may be killed. In production
 * `passing` does nothing; with TARTAN_KILL_AT=place[:n] the process kills itself with SIGKILL when it passes the place for
 * the nth time, so that tests can show what the next start makes of it.
 */
export const PLACES = [
  'add:begun',
  'add:allocated',
  'add:planned',
  'add:pair-made',
  'add:container-set',
  'add:host-set',
  'add:ready',
  'del:begun',
  'del:deleting',
  'del:withdrawn',
  'del:released',
  'del:reaped',
  'del:forgotten',
  'switch:accept',
  'switch:move',
  'switch:remove',
  'adopt:noted',
  'adopt:renamed',
  'back:noted',
  'back:renamed',
] as const;
export type Place = (typeof PLACES)[number];

export function armCrash(spec: string | undefined): (place: Place) => void {
  if (spec === undefined || spec === '') return () => undefined;
  const match = /^([a-z]+:[a-z-]+)(?::(\d+))?$/.exec(spec);
  let left = Number(match?.[2] ?? 1);
  return (place) => {
    if (place !== match?.[1]) return;
    left -= 1;
    if (left === 0) process.kill(process.pid, 'SIGKILL');
  };
}
