/** Where a relay is and by what it is known: who may write this is believed to be one (docs/decisions/0020-relay.md). */
export type RelayAdvert = {
  readonly address: string;
  readonly port: number;
  /** PEM; it vouches for itself. */
  readonly certificate: string;
  /** Of Tartan. */
  readonly version: string;
};

/** Tokens that agents show to relays are good for nothing else. */
export const RELAY_AUDIENCE = 'tartan.dev/relay';
