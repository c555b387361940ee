/** The subjects that the conformance suites run against, and why one cannot be had here. */
import { existsSync } from 'node:fs';
import { whyNoKernel } from '../host/namespace.ts';
import { REFERENCE_PLUGINS, whyNoTartan } from '../host/node.ts';
import type { Opening } from './case.ts';
import { referenceSubject, tartanSubject } from './subject.ts';

const noKernel = whyNoKernel(['ip', 'nsenter', 'nft', 'iptables', 'curl', 'busybox']);
const noReference =
  noKernel ?? (existsSync(`${REFERENCE_PLUGINS}/bridge`) ? undefined : 'needs containernetworking-plugins');
const noTartan = noKernel ?? whyNoTartan();

export const REFERENCES: readonly Opening[] = (['bridge', 'ptp'] as const).map((plugin) => ({
  title: `reference ${plugin}`,
  skip: noReference,
  open: () => referenceSubject(plugin),
}));

export const TARTANS: readonly Opening[] = (['routed', 'bridge'] as const).map((wiring) => ({
  title: `tartan ${wiring}`,
  skip: noTartan,
  open: () => tartanSubject(wiring),
}));
