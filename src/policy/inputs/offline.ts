/** All inputs at once, of YAML texts. */
import type { Problem } from '#model/fault.ts';
import { type Manifest, readManifests } from '#model/manifest.ts';
import { createInputs, type InputOptions, type PolicyView } from './inputs.ts';
import { manifestName, originText } from './reading.ts';

/** Texts by the names of their files. Of objects that several documents tell of, the first stays. */
export function readInputs(texts: ReadonlyMap<string, string>, options: InputOptions): PolicyView {
  const inputs = createInputs(options);
  const first = new Map<string, Manifest>();
  const problems: Problem[] = [];
  for (const [source, text] of texts) {
    const read = readManifests(source, text);
    problems.push(...read.problems);
    for (const manifest of read.manifests) {
      const name = manifestName(manifest);
      const other = first.get(name);
      if (other === undefined) {
        first.set(name, manifest);
        inputs.setManifest(name, manifest);
      } else
        problems.push({ path: originText(manifest), message: `${name} is also in ${originText(other)}` });
    }
  }
  const view = inputs.view();
  return { ...view, problems: [...problems, ...view.problems] };
}
