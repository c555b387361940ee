/** The facts as the page has them: plain data, in the order of a reader: others first. */
import type { MatrixCell, ProviderMatrix } from '#model/provider-matrix.ts';
import { type Candidate, cellOf, type Facts } from '../facts/facts.ts';
import { type Feature, FEATURES, FEATURE_NAMES, GROUPS } from '../facts/features.ts';

export function providerMatrix({ candidates, sources }: Facts): ProviderMatrix {
  const groups = Object.entries(GROUPS).map(([group, title]) => ({
    title,
    features: FEATURE_NAMES.filter((name) => FEATURES[name].group === group).map((name) => ({
      name,
      title: FEATURES[name].title,
      type: FEATURES[name].type,
    })),
  }));
  const providers = candidates.map((candidate) => ({
    id: candidate.id,
    title: candidate.title,
    own: candidate.profile !== undefined,
    cells: Object.fromEntries(FEATURE_NAMES.map((feature) => [feature, matrixCell(candidate, feature)])),
  }));
  return { groups, providers: providers.sort((a, b) => Number(a.own) - Number(b.own)), sources };
}

function matrixCell(candidate: Candidate, feature: Feature): MatrixCell {
  const { value, claim, against } = cellOf(candidate, feature);
  const others = (candidate.facts[feature] ?? []).filter((one) => one !== claim);
  return { value, claims: claim === undefined ? others : [claim, ...others], against: against.length };
}
