/** The data plane does not need its agents: traffic between pods of two nodes goes on while both are killed and return. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startLab } from '../../src/lab/lab.ts';
import { waitFor, whyNoKernel } from './namespace.ts';

const skip = whyNoKernel(['ip', 'nft', 'ping', 'iperf3']) ?? false;

type Iperf = {
  readonly intervals: readonly { readonly sum: { readonly bytes: number } }[];
  readonly end: {
    readonly sum_sent: { readonly bytes: number; readonly retransmits: number };
    readonly sum_received: { readonly bytes: number };
  };
};

for (const wiring of ['bridge', 'routed'] as const) {
  test(
    `ping 200/s and a TCP stream lose nothing while both agents are away, ${wiring}`,
    { skip },
    async (t) => {
      const name = `rl-tr-${wiring[0]}-${process.pid}`;
      await using lab = await startLab({
        name,
        nodes: 2,
        subnets: 1,
        settings: { wiring: { type: wiring } },
      });
      await lab.addPod('node1', 'from');
      const to = (await lab.addPod('node2', 'to')).addresses[0] ?? '';
      await waitFor('the pods to meet', async () => {
        const { code } = await lab.exec('from', ['ping', '-c1', '-W1', to]);
        return code === 0;
      });
      const before = lab.nodes.map((node) => node.pid());
      const server = lab.exec('to', ['iperf3', '-s', '-1']);
      await waitFor('the server', async () =>
        (await lab.exec('to', ['ss', '-ltn'])).stdout.includes(':5201'),
      );
      const pinging = lab.exec('from', ['ping', '-q', '-i', '0.005', '-c', '1400', to]);
      const streaming = lab.exec('from', ['iperf3', '-J', '-c', to, '-t', '7', '-i', '0.2', '-b', '50M']);
      await sleep(1000);
      await Promise.all(lab.nodes.map((node) => lab.kill(node.name)));
      await sleep(3000);
      await Promise.all(lab.nodes.map((node) => lab.start(node.name)));
      assert.equal(
        lab.nodes.some((node, index) => node.pid() === before[index]),
        false,
        'both are new processes',
      );

      const ping = (await pinging).stdout;
      t.diagnostic(ping.trim().split('\n').slice(-2).join(' '));
      assert.match(ping, /1400 packets transmitted, 1400 received/);
      const { stdout } = await streaming;
      await server;
      const { intervals, end } = JSON.parse(stdout) as Iperf;
      const slowest = Math.min(...intervals.slice(0, -1).map(({ sum }) => sum.bytes));
      t.diagnostic(
        `${end.sum_received.bytes} bytes, ${end.sum_sent.retransmits} retransmits, slowest 0.2 s: ${slowest} bytes`,
      );
      assert.equal(end.sum_received.bytes, end.sum_sent.bytes, stdout.slice(-1500));
      assert.ok(end.sum_sent.bytes > 7 * 5e6, 'the stream kept its rate');
      assert.ok(slowest > 0, 'the stream never stood still');
    },
  );
}
