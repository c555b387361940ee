/** Pieces of BIRD's configuration language (BIRD 2.0 User's Guide, chapters 3 and 5). What others wrote never becomes syntax. */
import type { Community, SecretRef } from '#model/routing.ts';
import { shortHash } from '#lib/hash.ts';
import type { Prefix } from '#net/prefix.ts';

/** Strings have no escapes: what would end one is left out. */
export function quote(text: string): string {
  return `"${text.replaceAll(/[^\x20-\x7e]|["\\]/g, '')}"`;
}

export function indent(lines: readonly string[]): string[] {
  return lines.map((line) => (line === '' ? '' : `  ${line}`));
}

/** `head { … }`, one statement a line. */
export function block(head: string, lines: readonly string[]): string[] {
  return [`${head} {`, ...indent(lines), '}'];
}

/** As a statement inside another block. */
export function innerBlock(head: string, lines: readonly string[]): string[] {
  return [`${head} {`, ...indent(lines), '};'];
}

/** Everything in the prefixes. Sets cannot be empty: ask first. */
export function within(prefixes: readonly Prefix[]): string {
  return `[ ${prefixes.map((prefix) => `${prefix}+`).join(', ')} ]`;
}

export function addCommunity(community: Community): string {
  const list = community.length === 3 ? 'bgp_large_community' : 'bgp_community';
  return `${list}.add((${community.join(',')}));`;
}

export function hasCommunity(community: Community): string {
  const list = community.length === 3 ? 'bgp_large_community' : 'bgp_community';
  return `((${community.join(',')}) ~ ${list})`;
}

/** The path begins with these afterwards, as each is put in front. */
export function prepend(path: readonly number[]): string[] {
  return path.toReversed().map((as) => `bgp_path.prepend(${as});`);
}

/** Symbols have at most 63 characters: what is cut off, and what has no place in a symbol, stays told apart by the hash. */
export function symbol(prefix: string, name: string): string {
  return `${prefix}_${name.replaceAll(/[^A-Za-z0-9]/g, '_').slice(0, 24)}_${shortHash(name, 8)}`;
}

/** The constant that holds a password; whoever writes the file to disk defines it. */
export function passwordSymbol(ref: SecretRef): string {
  const place = ref.kind === 'file' ? `file ${ref.path}` : `secret ${ref.name} ${ref.key}`;
  return `password_${shortHash(place, 16)}`;
}
