/** All inputs as plain data: as JSON and back they make the same view, anywhere. */
import type { PolicySnapshot } from '#model/policy-snapshot.ts';
import { createInputs, type PolicyInputs } from './inputs.ts';

export function snapshotOf(inputs: PolicyInputs): PolicySnapshot {
  return inputs.snapshot();
}

/** Inputs with the same view. */
export function restore(snapshot: PolicySnapshot): PolicyInputs {
  const { links, own, names, ...options } = snapshot;
  const linkOf = new Map(links.map(({ address, link }) => [address, link]));
  const inputs = createInputs({ ...options, linkOf: (address) => linkOf.get(address) });
  for (const { name, manifest } of snapshot.retained) inputs.setManifest(name, manifest);
  for (const { name, manifest, problems } of snapshot.manifests) {
    if (manifest !== undefined) inputs.setManifest(name, manifest);
    if (problems.length > 0) inputs.refuseManifest(name, problems);
  }
  for (const { name } of snapshot.retained) inputs.setManifest(name, undefined);
  for (const workloads of snapshot.workloads) inputs.setWorkloads(workloads.node, workloads);
  for (const { name, addresses } of snapshot.nodes) inputs.setNode(name, addresses);
  inputs.setNames(new Map(names?.map(({ name, addresses }) => [name, new Set(addresses)])));
  if (own !== undefined) inputs.setOwn(own);
  return inputs;
}
