/** A process of its own for the engine: prints what ./changes.ts measured as JSON. */
import { closeSync } from 'node:fs';
import { inNetns, openNetns, ready } from '#kernel/netns.ts';
import { openPolicy } from '#kernel/nftables/policy/policy.ts';
import { makeNamespace } from '../../test/host/namespace.ts';
import { benchChanges } from './changes.ts';

await ready;
const namespace = makeNamespace('pk-engine');
const netns = openNetns(namespace.path);
const table = inNetns(netns, openPolicy);
closeSync(netns);
try {
  console.log(JSON.stringify(benchChanges(table)));
} finally {
  table.close();
  namespace.remove();
}
