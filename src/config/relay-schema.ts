/** A relay, and what it takes upon itself. */
import { group } from './group.ts';
import { addressText, hostPort, setting, whole } from './values.ts';

export const relay = group(
  {
    address: setting(
      addressText.optional(),
      'IP address',
      'Of this host, where agents reach the relay; absent: the environment’s TARTAN_ADDRESS.',
    ),
    port: setting(whole(0, 65_535), 'port', 'Calico’s for the same; 0: any.').default(5473),
    maxReaders: setting(
      whole(1, 10_000),
      'agents',
      'Who comes when there are so many goes to another relay.',
    ).default(1000),
    listen: setting(hostPort.optional(), 'host:port', 'Metrics and health by HTTP; absent: none.'),
  },
  'A relay (`tartan relay`), of which a cluster has none or several; agents find them in the store. Agents do not read it.',
);
