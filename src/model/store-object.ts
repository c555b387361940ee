/** Objects of a store as an operator sees them, whatever the store is: each as its manifest. */
export type StoreObject = {
  /** `apiVersion/kind/[namespace/]name`, of tartan.dev's kinds too. */
  readonly name: string;
  readonly value: Readonly<Record<string, unknown>>;
  /** Where it stands: file or key. */
  readonly origin: string;
};

export type Outcome = {
  readonly name: string;
  readonly outcome: 'created' | 'changed' | 'unchanged' | 'removed' | 'absent';
};

export interface ObjectStore {
  /**
   * By name. Of Tartan's own kinds those that are wanted, by default all: not everybody may read every one. Others' kinds are
   * always among them.
   */
  list(isWanted?: (kind: string) => boolean): Promise<StoreObject[]>;
  /** Throws Fault `request-invalid` with every problem at its place; then nothing is changed. `isTrial`: changes nothing. */
  apply(objects: readonly StoreObject[], isTrial?: boolean): Promise<Outcome[]>;
  /** As `apply`. What is not there is no problem. */
  remove(names: readonly string[], isTrial?: boolean): Promise<Outcome[]>;
  /** Writes everything into a directory that is then a directory store. Throws Fault `request-invalid` unless it is empty. */
  exportTo(directory: string): Promise<Outcome[]>;
  /** Adds what a directory store holds; what is there already must be the same. As `apply`. */
  importFrom(directory: string): Promise<Outcome[]>;
  close(): void;
}
