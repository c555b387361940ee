/**
 * A runtime with a mount namespace of its own: the IPAM plugin that it names, the plugin's files and the pod's network
 * namespace are found where the runtime sees them, through symbolic links of that view.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { tartanSubject } from '../conformance/subject.ts';
import { makeNamespace, whyNoKernel, type Namespace } from './namespace.ts';
import { whyNoTartan } from './node.ts';

const PLACE = '/mnt';
const ANSWER = JSON.stringify({
  cniVersion: '1.0.0',
  ips: [{ address: '10.88.0.205/24', gateway: '10.88.0.1' }],
});
/** In the runtime's view only: the plugin, what it reads and writes, the namespace; each behind an absolute link. */
const SCRIPT = `
set -e
mount -t tmpfs none ${PLACE}
mkdir ${PLACE}/plugins ${PLACE}/netns
touch ${PLACE}/calls
ln -s ${PLACE}/plugins ${PLACE}/bin
ln -s ${PLACE}/netns ${PLACE}/run
touch ${PLACE}/netns/pod
mount --bind "$POD" ${PLACE}/netns/pod
printf %s '${ANSWER}' >${PLACE}/answer
printf '#!/bin/sh\\ncat >/dev/null\\necho $CNI_COMMAND >>${PLACE}/calls\\n[ $CNI_COMMAND != ADD ] || cat ${PLACE}/answer\\n' >${PLACE}/plugins/cf-ipam
chmod 755 ${PLACE}/plugins/cf-ipam
"$@"
cat ${PLACE}/calls >&2`;

describe(
  'a caller in another mount namespace',
  { skip: whyNoKernel(['ip', 'nsenter', 'unshare', 'mount']) ?? whyNoTartan() ?? false },
  () => {
    let subject: Awaited<ReturnType<typeof tartanSubject>>;
    let pod: Namespace;
    before(async () => {
      subject = await tartanSubject('routed');
      pod = makeNamespace('cf-view');
    });
    after(async () => {
      pod.remove();
      await subject.stop();
    });

    const environment = { CNI_CONTAINERID: 'cfview', CNI_IFNAME: 'eth0', CNI_NETNS: `${PLACE}/run/pod` };
    const config = { cniVersion: '1.0.0', name: 'bxnet', type: 'tartan-cni', ipam: { type: 'cf-ipam' } };
    const prefix = ['unshare', '--mount', 'env', `POD=`, 'sh', '-c', SCRIPT, 'runtime'];

    test('its IPAM plugin runs where its files are, and the pod is attached', async () => {
      assert.ok(!existsSync(`${PLACE}/plugins`), 'the agent’s own view has none of it');
      const words = prefix.with(3, `POD=${pod.path}`);
      const added = await subject.host.cni('ADD', { ...environment, CNI_PATH: `${PLACE}/bin` }, config, {
        prefix: words,
      });
      assert.equal(added.code, 0, `${added.stdout}${added.stderr}`);
      const { ips } = JSON.parse(added.stdout) as { ips: { address: string }[] };
      assert.match(ips[0]?.address ?? '', /^10\.88\.0\.205\//);
      assert.match(added.stderr, /^ADD$/m, 'the plugin wrote into the runtime’s own file');
      assert.match(JSON.stringify(pod.list('addr show dev eth0')), /10\.88\.0\.205/);
    });

    test('the rules of a second interface are taken from the pod that the runtime sees', async () => {
      const words = prefix.with(3, `POD=${pod.path}`);
      const second = { ...environment, CNI_CONTAINERID: 'cfsecond', CNI_IFNAME: 'eth1' };
      const plain = { cniVersion: '1.0.0', name: 'bxnet', type: 'tartan-cni' };
      const added = await subject.host.cni('ADD', second, plain, { prefix: words });
      assert.equal(added.code, 0, `${added.stdout}${added.stderr}`);
      const { ips } = JSON.parse(added.stdout) as { ips: { address: string }[] };
      const rule = `from ${ips[0]?.address.split('/')[0]} `;
      assert.ok(pod.ip('rule show').includes(rule), pod.ip('rule show'));
      const removed = await subject.host.cni('DEL', second, plain, { prefix: words });
      assert.equal(removed.code, 0, `${removed.stdout}${removed.stderr}`);
      assert.ok(!pod.ip('rule show').includes(rule), pod.ip('rule show'));
    });

    test('without that view the plugin is not found', async () => {
      const path = { ...environment, CNI_NETNS: pod.path, CNI_CONTAINERID: 'other', CNI_IFNAME: 'eth1' };
      const failed = await subject.host.cni('ADD', { ...path, CNI_PATH: `${PLACE}/bin` }, config);
      assert.equal((JSON.parse(failed.stdout) as { code: number }).code, 105, failed.stdout);
    });
  },
);
