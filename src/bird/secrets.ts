/**
 * Passwords become constants on the first line of BIRD's configuration, which its writer left for a comment. Nothing that BIRD
 * says is passed on with a password in it.
 */
import type { Problem } from '#model/fault.ts';

/** Symbol of the constant → password. */
export type Passwords = ReadonlyMap<string, string>;

/** BIRD's strings have no escapes, and a key of TCP MD5 has at most 80 bytes (tcp(7), TCP_MD5SIG_MAXKEYLEN). */
export function problemsOf(passwords: Passwords): Problem[] {
  return [...passwords].flatMap(([symbol, password]) => {
    const say = (message: string): Problem[] => [{ path: symbol, message }];
    if (password === '') return say('must not be empty');
    if (/["\p{Cc}]/u.test(password))
      return say('must not have " or control characters: BIRD has no way to write them');
    return Buffer.byteLength(password) > 80 ? say('must have at most 80 bytes') : [];
  });
}

/** The lines keep their numbers. */
export function withPasswords(config: string, passwords: Passwords): string {
  const [, ...rest] = config.split('\n');
  const defined = [...passwords].map(([symbol, password]) => `define ${symbol} = "${password}";`);
  return [defined.join(' '), ...rest].join('\n');
}

/** Sessions that both configurations have, with another password: taking up the other one ends them. */
export function rotatedBy(before: string, after: string): string[] {
  if (before === after) return [];
  const [old, next] = [passwordsIn(before), passwordsIn(after)];
  return [...next].flatMap(([session, password]) =>
    old.has(session) && old.get(session) !== password ? [session] : [],
  );
}

/** BGP sessions → their passwords, as they stand in a configuration. */
function passwordsIn(text: string): Map<string, string | undefined> {
  const [head = ''] = text.split('\n', 1);
  const defined = new Map(
    [...head.matchAll(/define (\w+) = "([^"]*)";/g)].map(([, name, value]) => [name, value]),
  );
  const sessions = text.matchAll(/^protocol bgp (\w+) \{\n((?: .*\n)*)\}/gm);
  return new Map(
    Array.from(sessions, ([, name = '', body = '']) => {
      const symbol = /^ +password (\w+);/m.exec(body)?.[1];
      return [name, symbol === undefined ? undefined : defined.get(symbol)];
    }),
  );
}

export function redact(text: string, passwords: Passwords): string {
  return [...passwords.values()].reduce((shown, password) => shown.replaceAll(password, '***'), text);
}
