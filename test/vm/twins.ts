/**
 * The test files that also run in the virtual machine (test/host/vm.test.ts), in this order. A file may need more than
 * this host's kernel has; there nothing may be skipped. Keep the whole under two minutes: a process costs 20 times more.
 */
import type { FeatureName } from './features.ts';

export type Twin = {
  readonly file: string;
  /** What of the kernel is loaded before: the modules of these features (features.ts). */
  readonly needs: readonly FeatureName[];
  /** Only tests whose full name (suites, then test) has a match; default: all. */
  readonly only?: readonly RegExp[];
};

export const TWINS: readonly Twin[] = [
  { file: 'test/host/kernel.test.ts', needs: [] },
  { file: 'test/host/rules.test.ts', needs: [], only: [/^packets /] },
  {
    file: 'test/host/conformance-host-port.test.ts',
    needs: ['sctp'],
    only: [/^tartan \S+ H3 SCTP/, /^tartan bridge H1 TCP over IPv4/, /^tartan routed H1 TCP over IPv6/],
  },
  { file: 'test/host/conformance-protocol.test.ts', needs: [], only: [/^tartan routed P(12|14|17) /] },
  { file: 'test/host/conformance-attachment.test.ts', needs: [], only: [/^tartan bridge (B2|B13) /] },
];

/** Files of the twins that need a feature. */
export function twinsOf(feature: FeatureName): string[] {
  return TWINS.filter(({ needs }) => needs.includes(feature)).map(({ file }) => file);
}
