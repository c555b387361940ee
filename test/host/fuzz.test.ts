import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { assertAnswer, makeRandom, makeRequest, sendRequest } from '../conformance/fuzz.ts';
import { tartanSubject } from '../conformance/subject.ts';
import { makeNamespace, waitFor, whyNoKernel, type Namespace } from './namespace.ts';
import { whyNoTartan } from './node.ts';

const SEED = Number(process.env.FUZZ_SEED ?? 20_240_501);
const REQUESTS = Number(process.env.FUZZ_REQUESTS ?? 10_000);
const EXECUTIONS = 300;
const AT_ONCE = 16;

describe(
  `generated CNI requests, seed ${SEED}`,
  { skip: whyNoKernel(['ip', 'nsenter']) ?? whyNoTartan() ?? false },
  () => {
    let subject: Awaited<ReturnType<typeof tartanSubject>>;
    let pod: Namespace;
    let before_: { links: string; descriptors: number };
    const links = (): string =>
      subject.host.netns
        .list<{ ifname: string }>('link')
        .map((link) => link.ifname)
        .sort()
        .join(' ');
    const descriptors = (): number => readdirSync(`/proc/${subject.host.pid()}/fd`).length;
    const memory = (): number =>
      Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${subject.host.pid()}/status`, 'utf8'))?.[1]) / 1024;

    before(async () => {
      subject = await tartanSubject('routed');
      pod = makeNamespace('fuzz');
      before_ = { links: links(), descriptors: descriptors() };
    });
    after(async () => {
      pod.remove();
      await subject.stop();
    });

    test(`${REQUESTS} over the socket: an object or a result, never a crash, a hang or a leak`, async () => {
      const random = makeRandom(SEED);
      // The heap of a fresh process grows by tens of MB before it is first collected: a leak is what comes after.
      let warm = memory();
      for (let sent = 0; sent < REQUESTS; sent += AT_ONCE) {
        if (sent < REQUESTS / 4) warm = memory();
        const requests = Array.from({ length: Math.min(AT_ONCE, REQUESTS - sent) }, () =>
          makeRequest(random, pod.path),
        );
        const replies = await Promise.all(
          requests.map((request) => sendRequest(subject.host.socket, request)),
        );
        for (const [index, reply] of replies.entries()) {
          const about =
            JSON.stringify(requests[index]?.environment) + String(requests[index]?.stdin.subarray(0, 300));
          assert.match(reply, /^\d/, about);
          assertAnswer(Number(reply[0]), reply.slice(1), about);
        }
      }
      assert.ok(existsSync(`/proc/${subject.host.pid()}`), 'the agent lives');
      const grown = memory() - warm;
      assert.ok(grown < 100, `the agent grew by ${grown} MB`);
    });

    test(`${EXECUTIONS} by exec`, async () => {
      const random = makeRandom(SEED + 1);
      for (let count = 0; count < EXECUTIONS; count += 1) {
        const { environment, stdin } = makeRequest(random, pod.path);
        const { CNI_COMMAND: verb, ...rest } = environment;
        const done = await subject.host.cni(verb, rest, stdin.toString());
        if (verb === undefined || verb === '') assert.equal(done.stdout, '');
        else assertAnswer(done.code, done.stdout, JSON.stringify(environment));
      }
    });

    test('nothing is left once every container is deleted', async () => {
      for (let id = 0; id < 20; id += 1)
        for (const ifname of ['eth0', 'eth1'])
          await subject.host.cni(
            'DEL',
            { CNI_CONTAINERID: `fuzz${id}`, CNI_NETNS: pod.path, CNI_IFNAME: ifname },
            { cniVersion: '1.0.0', name: 'bxnet', type: 'tartan-cni' },
          );
      const gc = { cniVersion: '1.1.0', name: 'bxnet', type: 'tartan-cni', 'cni.dev/valid-attachments': [] };
      assert.equal((await subject.host.cni('GC', {}, gc)).code, 0);
      await waitFor('links to go', () => links() === before_.links);
      await waitFor('descriptors to be closed', () => descriptors() <= before_.descriptors + 5);
      assert.deepEqual(await subject.leases('bxnet'), []);
    });
  },
);
