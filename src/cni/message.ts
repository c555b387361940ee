/**
 * What the CNI executable and the agent say to each other over the socket (native/shim.c): a request is the
 * environment as NUL-terminated `NAME=VALUE` strings, an empty string, then standard input verbatim; a reply is one
 * digit, the exit code, then standard output. Both end with the stream. A spooled DEL is the same bytes in a file.
 */
import { Fault } from '#model/fault.ts';

/** Version of the framing, in every request as TARTAN_PROTOCOL; spool files outlive an upgrade. */
export const PROTOCOL = '1';

export type Message = { readonly env: Readonly<Record<string, string>>; readonly stdin: string };

/** Throws Fault `cni-environment` when the bytes end before the environment does, or are of another framing. */
export function decodeMessage(bytes: Uint8Array): Message {
  const end = bytes.findIndex((byte, index) => byte === 0 && (index === 0 || bytes[index - 1] === 0));
  if (end < 0) throw new Fault('cni-environment', 'the request is cut off within the environment');
  const text = new TextDecoder();
  const env: Record<string, string> = Object.create(null) as Record<string, string>;
  for (const entry of text.decode(bytes.subarray(0, end)).split('\0')) {
    const sign = entry.indexOf('=');
    if (sign > 0) env[entry.slice(0, sign)] = entry.slice(sign + 1);
  }
  if (env['TARTAN_PROTOCOL'] !== PROTOCOL) {
    throw new Fault('cni-environment', 'the CNI executable is of another version than the agent', {
      problems: [{ path: 'TARTAN_PROTOCOL', message: `expected ${PROTOCOL}` }],
    });
  }
  return { env, stdin: text.decode(bytes.subarray(end + 1)) };
}

export function encodeMessage(message: Message): Uint8Array {
  const entries = Object.entries({ TARTAN_PROTOCOL: PROTOCOL, ...message.env });
  const env = entries.map(([name, value]) => `${name}=${value}\0`).join('');
  return new TextEncoder().encode(`${env}\0${message.stdin}`);
}

/** `stdout` ends with a line feed unless it is empty. */
export function encodeReply(exitCode: 0 | 1, stdout = ''): string {
  return `${exitCode}${stdout}${stdout === '' ? '' : '\n'}`;
}
