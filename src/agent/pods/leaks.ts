/**
 * Attachments whose network namespace is gone: reported, never removed here, because only the runtime knows (DEL, GC).
 * A namespace is alive while its path leads to it or a process is in it.
 */
import { readdirSync, statSync } from 'node:fs';
import type { Events } from '#lib/log.ts';
import { findLeaks } from '#ipam/leak.ts';
import { type Attachment, attachmentId } from '#model/attachment.ts';

export type LeaksOptions = {
  readonly attachments: () => readonly Attachment[];
  readonly bootId: string;
  readonly inFlight: ReadonlySet<string>;
  readonly events: Events;
  /** Inodes of the namespaces that are alive; by default those of the attachments' paths and of all processes. */
  readonly namespaces?: (attachments: readonly Attachment[]) => ReadonlySet<number>;
};

export class Leaks {
  readonly #options: LeaksOptions;
  #reported = new Set<string>();
  /** Of the last look. */
  found: readonly Attachment[] = [];

  constructor(options: LeaksOptions) {
    this.#options = options;
  }

  /** How many were found at the last look. */
  get count(): number {
    return this.#reported.size;
  }

  /** Looks now; each leak is an event once. */
  look(): void {
    const { attachments, bootId, inFlight, events, namespaces = liveNamespaces } = this.#options;
    const all = attachments();
    const found = findLeaks({ attachments: all, bootId, inFlight, namespaces: namespaces(all) }).filter(
      ({ reason }) => reason === 'namespace-gone',
    );
    for (const { attachment, why } of found) {
      const id = attachmentId(attachment);
      if (this.#reported.has(id)) continue;
      events.add('warning', `${id} is attached, but ${why}; the runtime’s DEL or GC removes it`);
    }
    this.found = found.map(({ attachment }) => attachment);
    this.#reported = new Set(found.map(({ attachment }) => attachmentId(attachment)));
  }
}

export function liveNamespaces(attachments: readonly Attachment[]): Set<number> {
  const processes = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  const paths = [...attachments.map(({ netns }) => netns), ...processes.map((pid) => `/proc/${pid}/ns/net`)];
  return new Set(paths.flatMap((path) => inodeOf(path) ?? []));
}

function inodeOf(path: string): number | undefined {
  try {
    return statSync(path).ino;
  } catch {
    return undefined;
  }
}
