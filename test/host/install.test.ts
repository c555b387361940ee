/**
 * `tartan install` as a runtime sees it that reads the directory at any moment: P18 of the CNI checklist. That
 * containerd and podman take what it writes is shown by their own suites, which run on it.
 */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { chooseVersion, validateConflist } from '#cni/conflist.ts';
import type { JsonObject } from '#cni/json.ts';
import { whyNoKernel } from './namespace.ts';
import { startNode, whyNoTartan, type Node } from './node.ts';

/** The files that libcni looks at, in its order. */
const listsIn = (conf: string): string[] =>
  readdirSync(conf)
    .filter((name) => /\.(conflist|conf|json)$/.test(name))
    .sort();

describe('tartan install', { skip: whyNoKernel(['ip', 'nsenter']) ?? whyNoTartan() ?? false }, () => {
  let node: Node;
  let conf: string;
  before(async () => {
    node = await startNode('cf-inst');
    conf = join(node.directory, 'net.d');
    mkdirSync(conf, { recursive: true });
    writeFileSync(join(conf, '87-podman-bridge.conflist'), '{"foreign":true}');
  });
  after(() => node.stop());

  test('at no moment is there half a list, whoever else has one', async () => {
    const done = new AbortController();
    let seen = 0;
    const watching = (async () => {
      while (!done.signal.aborted) {
        const [first = '', ...rest] = listsIn(conf);
        if (first.endsWith('tartan.conflist')) {
          seen += 1;
          assert.deepEqual(validateConflist(readFileSync(join(conf, first), 'utf8')), []);
          assert.deepEqual(rest, ['87-podman-bridge.conflist'], 'nothing that a reader takes for a list');
        }
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    for (let time = 0; time < 5; time += 1) {
      const { code, stderr } = await node.run(['install']);
      assert.equal(code, 0, stderr);
    }
    done.abort();
    await watching;
    assert.ok(seen > 10, `the list was read ${seen} times`);
    assert.equal(readFileSync(join(conf, '87-podman-bridge.conflist'), 'utf8'), '{"foreign":true}');
  });

  test('it sorts first, suits old and new libraries, and what it names answers VERSION', async () => {
    assert.equal(listsIn(conf)[0], '10-tartan.conflist');
    const list = JSON.parse(readFileSync(join(conf, '10-tartan.conflist'), 'utf8')) as JsonObject;
    assert.equal(list['cniVersion'], '1.0.0', 'what a library before 1.1 reads');
    assert.equal(chooseVersion(list), '1.1.0');
    for (const { type } of list['plugins'] as { type: string }[]) {
      const answer = await node.cni('VERSION', {}, '', { type });
      const { supportedVersions } = JSON.parse(answer.stdout) as { supportedVersions: string[] };
      for (const version of list['cniVersions'] as string[]) assert.ok(supportedVersions.includes(version));
    }
  });

  test('uninstall takes away what it wrote and nothing else', async () => {
    assert.equal((await node.run(['uninstall'])).code, 0);
    assert.deepEqual(readdirSync(conf), ['87-podman-bridge.conflist']);
  });
});
