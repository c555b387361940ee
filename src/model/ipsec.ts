/** What nodes tell each other for IPsec, and know of themselves. Nothing of it is secret. */

/** In a node's advert. */
export type IpsecNode = {
  /** Drawn at random for each boot of the node, and whenever it lost states of many peers: 22 characters of base64url. */
  readonly nonce: string;
  /** By peer: how often a state shared with it was lost since the nonce was drawn. Most peers have none. */
  readonly again: Readonly<Record<string, number>>;
  /** `NAME:CHECK` of secrets by which the node takes packets in; CHECK tells secrets of one name apart. */
  readonly secrets: readonly string[];
  /** Where it listens for ESP in UDP. */
  readonly port: number;
  /** It can be reached in UDP only. */
  readonly udp: boolean;
};

/** What a node's plan needs to know of its own keys. */
export type IpsecSelf = Pick<IpsecNode, 'nonce' | 'again'> & {
  /** Those that it has, the newest first: it can take packets in by all of them. */
  readonly secrets: readonly string[];
  /** Those that it tells: it can take packets in by them already. */
  readonly announced: readonly string[];
};
