/**
 * This node's secrets of the userspace tunnel: its keys, made here and kept in the state directory, or a password that all
 * nodes share. Either file has one a line, the newest first, and is read again when it changes: a secret is rotated by
 * adding the new one above the old, and taking the old one away when all nodes know the new.
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { Fault } from '#model/fault.ts';
import type { Settings } from '#model/settings.ts';
import { encodeKey, keyFromPassword, openKeyFile, rawPrivate, readSecretLines } from '#tunnel/keys.ts';
import type { TextSecrets } from '#tunnel/order.ts';

export const TUNNEL_KEY_FILE = 'tunnel.key';

export type TunnelSecrets = {
  /** For peers; absent where none are needed. */
  readonly publicKeys?: readonly string[];
  /** For the tunnel's process alone. */
  readonly text?: TextSecrets;
};

/** Gives them as the file has them now; makes a key where there is none. Throws Fault `io`, without a secret. */
export function openTunnelSecrets({ road, network, paths }: Settings): () => TunnelSecrets {
  const { cipher, passwordFile } = road.udp;
  if (cipher === 'plain') return () => ({});
  if (passwordFile === undefined) return rereading(join(paths.state, TUNNEL_KEY_FILE), readKeys);
  return rereading(passwordFile, (path) => ({
    text: {
      mode: 'password',
      keys: readSecretLines(path).map((word) => encodeKey(keyFromPassword(word, network.name))),
    },
  }));
}

function readKeys(path: string): TunnelSecrets {
  const pairs = openKeyFile(path);
  return {
    publicKeys: pairs.map(({ publicKey }) => encodeKey(publicKey)),
    text: { mode: 'keys', own: pairs.map(({ privateKey }) => encodeKey(rawPrivate(privateKey))) },
  };
}

function rereading(path: string, read: (path: string) => TunnelSecrets): () => TunnelSecrets {
  let known: { readonly stamp: string; readonly secrets: TunnelSecrets } | undefined;
  return () => {
    try {
      if (known === undefined || stampOf(path) !== known.stamp) {
        const secrets = read(path);
        known = { stamp: stampOf(path), secrets };
      }
      return known.secrets;
    } catch (error) {
      throw new Fault('io', `the userspace tunnel’s secrets: ${error instanceof Error ? error.message : ''}`);
    }
  };
}

function stampOf(path: string): string {
  const { ino, mtimeMs, size, mode } = statSync(path);
  return [ino, mtimeMs, size, mode].join();
}
