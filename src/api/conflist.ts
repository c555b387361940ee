/**
 * The CNI configuration list by which a runtime finds Tartan. The runtime's file carries only what a runtime has to
 * know; everything else the agent takes from its own settings, so a change of profile does not touch this file.
 */

/** Name of the executable, and so the `type` in the list. */
export const CNI_EXECUTABLE = 'tartan-cni';
/** First of all lists in its directory: containerd takes the first by name. */
export const CONFLIST_FILE = '10-tartan.conflist';

/**
 * `cniVersion` 1.0.0, with 1.1.0 offered in `cniVersions`: libraries before 1.1 (containerd 1.6, podman 4) fail on a list
 * that says 1.1.0, newer ones take the highest they know (CNI spec 1.1.0, section 1).
 */
export function conflist(network: string): string {
  const list = {
    cniVersion: '1.0.0',
    cniVersions: ['0.3.1', '0.4.0', '1.0.0', '1.1.0'],
    name: network,
    plugins: [
      {
        type: CNI_EXECUTABLE,
        capabilities: {
          portMappings: true,
          bandwidth: true,
          ips: true,
          mac: true,
          ipRanges: true,
          dns: true,
          aliases: true,
        },
      },
    ],
  };
  return `${JSON.stringify(list, undefined, 2)}\n`;
}
