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

export function redact(text: string, passwords: Passwords): string {
  return [...passwords.values()].reduce((shown, password) => shown.replaceAll(password, '***'), text);
}
