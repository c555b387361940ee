/**
 * A userspace tunnel in a process of its own: `node tunnel-process.ts`, options as the first line of standard input, commands
 * as further lines, events and answers as lines of standard output; JSON throughout, keys in base64.
 */
import { createInterface } from 'node:readline';
import { keyFromPassword, keyPairFrom, parseKey } from '../../src/tunnel/keys.ts';
import type { CipherName } from '../../src/tunnel/node-cipher.ts';
import {
  type Secrets,
  startTunnel,
  type Tunnel,
  type TunnelOptions,
  type TunnelPeer,
} from '../../src/tunnel/tunnel.ts';

export type TextSecrets =
  | { readonly privateKeys: readonly string[] }
  | { readonly passwords: readonly string[] };
export type TextPeer = Omit<TunnelPeer, 'publicKeys'> & { readonly publicKeys?: readonly string[] };
export type TextOptions = Pick<TunnelOptions, 'node' | 'device' | 'mtu' | 'port' | 'keepDevice' | 'times'> & {
  readonly cipher?: CipherName;
  readonly secrets?: TextSecrets;
  readonly peers: readonly TextPeer[];
};
export type Command =
  | { readonly do: 'status' }
  | { readonly do: 'peers'; readonly peers: readonly TextPeer[] }
  | { readonly do: 'secrets'; readonly secrets: TextSecrets }
  | { readonly do: 'close' };

function keyOf(text: string): Uint8Array {
  const key = parseKey(text);
  if (key === undefined) throw new Error('not a key');
  return key;
}

const secretsOf = (given: TextSecrets): Secrets =>
  'passwords' in given
    ? { mode: 'password', keys: given.passwords.map((word) => keyFromPassword(word, 'test')) }
    : { mode: 'keys', own: given.privateKeys.map((key) => keyPairFrom(keyOf(key))) };

const peersOf = (peers: readonly TextPeer[]): TunnelPeer[] =>
  peers.map((peer) => ({ ...peer, publicKeys: (peer.publicKeys ?? []).map(keyOf) }));

const say = (what: object): void => void process.stdout.write(`${JSON.stringify(what)}\n`);

async function start({ cipher, secrets, peers, ...rest }: TextOptions): Promise<Tunnel> {
  return startTunnel({
    ...rest,
    protection:
      cipher === undefined || secrets === undefined ? 'plain' : { cipher, secrets: secretsOf(secrets) },
    peers: peersOf(peers),
    log: say,
  });
}

async function obey(tunnel: Tunnel, command: Command): Promise<void> {
  if (command.do === 'status') say({ status: tunnel.status() });
  else if (command.do === 'peers') tunnel.setPeers(peersOf(command.peers));
  else if (command.do === 'secrets') tunnel.setSecrets(secretsOf(command.secrets));
  else {
    await tunnel.close();
    say({ event: 'closed' });
  }
}

if (import.meta.main) {
  let tunnel: Tunnel | undefined;
  for await (const line of createInterface({ input: process.stdin })) {
    if (tunnel === undefined) {
      tunnel = await start(JSON.parse(line) as TextOptions);
      say({ event: 'started', port: tunnel.port });
    } else await obey(tunnel, JSON.parse(line) as Command);
  }
  await tunnel?.close();
}
