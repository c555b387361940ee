import { type Attachment, attachmentId } from '#model/attachment.ts';

/**
 * Attachments in the ledger that nobody uses any more. What is not known never counts as gone: without a list of
 * namespaces none is missed, and an attachment that a request is working on is left alone.
 */
export type LeakQuestion = {
  readonly attachments: Iterable<Attachment>;
  readonly bootId: string;
  /** Inodes of all network namespaces alive on the host; absent: unknown. */
  readonly namespaces?: ReadonlySet<number>;
  /** CNI GC (spec 1.1.0): of this network, only these are in use. Other networks are not touched. */
  readonly gc?: {
    readonly network: string;
    readonly valid: readonly { readonly containerId: string; readonly ifname: string }[];
  };
  /** Ids (attachmentId) of attachments that an ADD or DEL is working on. */
  readonly inFlight: ReadonlySet<string>;
};

export type LeakReason = 'rebooted' | 'unfinished' | 'namespace-gone' | 'not-valid';

export type Leak = { readonly attachment: Attachment; readonly reason: LeakReason; readonly why: string };

const WHY: Record<LeakReason, string> = {
  rebooted: 'it was made before the host was booted',
  unfinished: 'its ADD or DEL was cut short',
  'namespace-gone': 'its network namespace is gone',
  'not-valid': 'the runtime does not list it as valid',
};

/** What to remove, in the order of the ledger. */
export function findLeaks(question: LeakQuestion): Leak[] {
  const { gc, inFlight } = question;
  const valid = gc && new Set(gc.valid.map(({ containerId, ifname }) => `${containerId}/${ifname}`));
  const isInvalid = (item: Attachment): boolean =>
    item.network === gc?.network && valid?.has(`${item.containerId}/${item.ifname}`) === false;
  const leaks: Leak[] = [];
  for (const attachment of question.attachments) {
    if (inFlight.has(attachmentId(attachment))) continue;
    const reason = whyGone(question, attachment) ?? (isInvalid(attachment) ? 'not-valid' : undefined);
    if (reason !== undefined) leaks.push({ attachment, reason, why: WHY[reason] });
  }
  return leaks;
}

function whyGone({ bootId, namespaces }: LeakQuestion, attachment: Attachment): LeakReason | undefined {
  if (attachment.bootId !== bootId) return 'rebooted';
  if (attachment.phase !== 'ready') return 'unfinished';
  return namespaces?.has(attachment.netnsInode) === false ? 'namespace-gone' : undefined;
}
