/** Versions of the CNI protocol: those that we speak, their order, and the answer to VERSION. */

export const CNI_VERSIONS = ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'] as const;
export type CniVersion = (typeof CNI_VERSIONS)[number];
export const LATEST_VERSION: CniVersion = '1.1.0';

export function isSupported(version: string): version is CniVersion {
  return (CNI_VERSIONS as readonly string[]).includes(version);
}

/** Whether the text is `major[.minor[.patch]]` in decimal, whatever the numbers. */
export function isVersionText(text: string): boolean {
  return /^\d{1,9}(\.\d{1,9}){0,2}$/.test(text);
}

export function atLeast(version: CniVersion, least: CniVersion): boolean {
  return CNI_VERSIONS.indexOf(version) >= CNI_VERSIONS.indexOf(least);
}

/** The answer to VERSION (CNI spec 1.1.0, "VERSION"): the requester's version is echoed. */
export function encodeVersion(requested?: string): string {
  const cniVersion = requested !== undefined && isVersionText(requested) ? requested : LATEST_VERSION;
  return JSON.stringify({ cniVersion, supportedVersions: CNI_VERSIONS });
}
