/**
 * Scenarios of policy as data: what a paragraph of some documentation says, the manifests that show it, and who may then
 * reach whom. The runner (judge.ts) puts them in force in a lab; docs/policy-scenarios.md lists them.
 */

/**
 * Words with spaces between them stand for each of several. Places are pods by their names, `node1`, `node2`, and those of
 * `outside` (cluster.ts). Traffic is `tcp/80`, `udp/53`, `sctp/7`, `icmp`; with `#name` behind it all of that name are one
 * connection, and `<` behind that its reply.
 */
export type Expectation = readonly [from: string, to: string, traffic: string, outcome: 'allow' | 'deny'];

export type NewPod = {
  readonly name: string;
  readonly namespace: string;
  readonly node: string;
  readonly labels: Readonly<Record<string, string>>;
};

export type Stage = {
  /** All that is there beside the cluster's own. `{{client ipv4}}` stands for an address of the place. */
  readonly manifests: string;
  readonly expect: readonly Expectation[];
  /** Pods that are added once the manifests are in force. */
  readonly pods?: readonly NewPod[];
  /** What the agents say of objects that are not in force as they are written. */
  readonly problems?: readonly RegExp[];
};

export type Scenario = Stage & {
  /** The chapter or table. */
  readonly section: string;
  /** What it says, in our words: with the section the name of the test. */
  readonly says: string;
  /** What is shown after that, one by one. */
  readonly later?: readonly Stage[];
};

/** Shown by a test of its own: `file.test.ts`, and how the title begins. */
export type Elsewhere = {
  readonly section: string;
  readonly says: string;
  readonly file: string;
  readonly title: string;
};

export type Documentation = {
  readonly title: string;
  /** Where the text is. */
  readonly source: string;
  readonly scenarios: readonly Scenario[];
  readonly elsewhere: readonly Elsewhere[];
  /** What nobody can show with packets: paragraph, and why. */
  readonly silent: readonly (readonly [section: string, says: string, why: string])[];
};

export function titleOf({ section, says }: { readonly section: string; readonly says: string }): string {
  return `${section}: ${says}`;
}

export function stagesOf(scenario: Scenario): readonly Stage[] {
  return [scenario, ...(scenario.later ?? [])];
}

/** The scenarios with only what passes between pods, all on one node: for labs that have no more. */
export function betweenPods(scenarios: readonly Scenario[]): Scenario[] {
  const keep = <S extends Stage>(stage: S): S => ({
    ...stage,
    expect: stage.expect.flatMap(podsOnly),
    ...(stage.pods === undefined ? {} : { pods: stage.pods.map((pod) => ({ ...pod, node: 'node1' })) }),
  });
  return scenarios
    .filter((each) => stagesOf(each).every(({ manifests }) => !/HostEndpoint|\{\{node/.test(manifests)))
    .map((each): Scenario => ({
      ...keep(each),
      ...(each.later === undefined ? {} : { later: each.later.map(keep) }),
    }))
    .filter((each) => stagesOf(each).some(({ expect }) => expect.length > 0));
}

function podsOnly([from, to, traffic, outcome]: Expectation): Expectation[] {
  const pods = (places: string): string =>
    words(places)
      .filter((place) => !/^(?:node\d|out-.*)$/.test(place))
      .join(' ');
  const kept = [pods(from), pods(to)] as const;
  return kept.includes('') ? [] : [[...kept, traffic, outcome]];
}

export function words(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== '');
}
