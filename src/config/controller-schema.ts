/** What is done once for the whole cluster, by the one of its controllers that leads. */
import { z } from 'zod';
import { group } from './group.ts';
import { hostPort, setting, whole } from './values.ts';

export const controller = group(
  {
    lease: group(
      {
        durationSeconds: setting(
          whole(3, 3600),
          'seconds',
          'Another controller leads when the leader’s lease has not been renewed for so long; so long a first one waits, too.',
        ).default(15),
        deadlineSeconds: setting(
          whole(2, 3600),
          'seconds',
          'A leader that could not renew its lease for so long does nothing more. The rest of the duration is for clocks that run at different rates.',
        ).default(10),
        retrySeconds: setting(whole(1, 600), 'seconds', 'From one renewal, or look, to the next.').default(2),
      },
      'Who leads.',
    ),
    graceSeconds: setting(
      whole(1, 86_400),
      'seconds',
      'A node that Kubernetes has deleted is asked after so long whether it lives; so is one that has a subnet or pods, but no advert.',
    ).default(900),
    answerSeconds: setting(
      whole(1, 86_400),
      'seconds',
      'Without an answer by then it loses them. An agent that reaches the store answers within a minute.',
    ).default(150),
    brake: group(
      {
        share: setting(
          z.number().min(0).max(1),
          '0–1',
          'When more than this share of all nodes is gone at once, nothing is taken from any.',
        ).default(0.5),
        minimum: setting(whole(0, 1_000_000), 'nodes', 'So many are never too many.').default(3),
      },
      'Protection against a store, or an API server, that lies.',
    ),
    listen: setting(hostPort.optional(), 'host:port', 'Metrics and health by HTTP; absent: none.'),
  },
  'The controller (`tartan controller`), of which a cluster has none, one, or several that stand by. Agents do not read it.',
);
