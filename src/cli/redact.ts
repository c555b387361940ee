/** Takes secrets out of text that leaves the host. A second fence: the agent never puts secrets into what it tells. */

/** A key whose name says that its value is secret, in JSON, YAML or `key=value`; the value up to the end of its word. */
const NAMED =
  /((?:password|passwd|secret|token|private[-_]?key|psk|api[-_]?key)"?\s*[:=]\s*)("(?:[^"\\]|\\.)*"|'[^']*'|[^\s,}\]]+)/gi;
const BEARER = /(authorization:\s*\w+\s+|bearer\s+)[\w.~+/=-]+/gi;
const PEM = /-----BEGIN ([A-Z ]*PRIVATE KEY)-----[\s\S]*?-----END \1-----/g;
/** 32 bytes in base64, as WireGuard writes keys. */
const KEY32 = /(?<![A-Za-z0-9+/=])[A-Za-z0-9+/]{43}=(?![A-Za-z0-9+/=])/g;

export function redact(text: string): string {
  return text
    .replaceAll(PEM, '[redacted private key]')
    .replaceAll(BEARER, '$1[redacted]')
    .replaceAll(NAMED, '$1"[redacted]"')
    .replaceAll(KEY32, '[redacted key]');
}
