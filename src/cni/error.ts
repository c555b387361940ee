/** The error object of the CNI protocol (CNI spec 1.1.0, "Error"). */
import type { Fault } from '#model/fault.ts';
import { type CniVersion, LATEST_VERSION } from './version.ts';

/** `details` holds every problem on a line of its own, then the hint. */
export function encodeError(fault: Fault, version: CniVersion = LATEST_VERSION): string {
  const details = [fault.details, fault.hint].filter((part) => part !== '').join('\n');
  return JSON.stringify({ cniVersion: version, code: fault.cni, msg: fault.message, details });
}
