/** The facts about all providers as plain data for a page: every cell with all that is claimed of it. */

export type MatrixClaim = {
  readonly value: number | string;
  /** A name of `ProviderMatrix.sources`. */
  readonly source: string;
  readonly date: string;
  readonly since?: string | undefined;
  readonly note?: string | undefined;
  readonly shownBy?: string | undefined;
};

export type MatrixCell = {
  /** `unknown` also where the newest sources disagree. */
  readonly value: number | string;
  /** The one that decides first; then the others, newest first. */
  readonly claims: readonly MatrixClaim[];
  /** How many of them say otherwise. */
  readonly against: number;
};

export type MatrixFeature = {
  readonly name: string;
  readonly title: string;
  readonly type: 'ability' | 'number' | 'version' | 'text';
};

export type MatrixProvider = {
  readonly id: string;
  readonly title: string;
  /** One of Tartan’s profiles. */
  readonly own: boolean;
  readonly cells: Readonly<Record<string, MatrixCell>>;
};

export type ProviderMatrix = {
  readonly groups: readonly { readonly title: string; readonly features: readonly MatrixFeature[] }[];
  readonly providers: readonly MatrixProvider[];
  readonly sources: Readonly<
    Record<string, { readonly title: string; readonly date: string; readonly url?: string | undefined }>
  >;
};
