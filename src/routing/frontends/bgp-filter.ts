/** Calico's BGPFilter (api/pkg/apis/projectcalico/v3/bgpfilter.go): rules by direction and family, the first that matches decides. */
import { z } from 'zod';
import { given } from '#lib/given.ts';
import { across, isFields, isThere, listOf, oneOf, wholeNumber } from '#model/manifest-shapes.ts';
import type { FilterOperation, FilterRule } from '#model/routing.ts';
import { addressBits, type Family } from '#net/address.ts';
import { defineCalico, type Frontend } from './frontend.ts';
import { asNumber, community, prefixOfFamily, priority } from './shapes.ts';

const operation = oneOf({
  addCommunity: z.strictObject({ value: community }).nullish(),
  prependASPath: z.strictObject({ prefix: listOf(asNumber, 1, 10) }).nullish(),
  setPriority: z.strictObject({ value: priority }).nullish(),
});

const OPERATORS = { Equal: 'equal', NotEqual: 'not-equal', In: 'in', NotIn: 'not-in' } as const;

function ruleOf(family: Family) {
  const length = wholeNumber(0, addressBits(family));
  return across(
    z.strictObject({
      cidr: prefixOfFamily(family).nullish(),
      matchOperator: z.enum(['Equal', 'NotEqual', 'In', 'NotIn']).nullish(),
      prefixLength: across(
        z.strictObject({ min: length.nullish(), max: length.nullish() }),
        ({ min, max }, say) => {
          if (typeof min === 'number' && typeof max === 'number' && min > max)
            say(['min'], 'must not exceed max');
        },
      ).nullish(),
      source: z.literal('RemotePeers').nullish(),
      interface: z
        .string()
        .regex(/^[A-Za-z0-9_.*-]{1,15}$/, 'must be the name of an interface, with or without *')
        .nullish(),
      peerType: z.enum(['eBGP', 'iBGP']).nullish(),
      communities: z.strictObject({ values: listOf(community, 1, 1) }).nullish(),
      asPathPrefix: z.array(asNumber).nullish(),
      priority: priority.nullish(),
      action: z.enum(['Accept', 'Reject']),
      operations: listOf(operation, 1, 10).nullish(),
    }),
    ({ cidr, matchOperator, prefixLength, action, operations }, say) => {
      if (isThere(cidr) !== isThere(matchOperator))
        say([], 'must have both cidr and matchOperator, or neither');
      if (isThere(prefixLength) && !isThere(cidr)) say(['prefixLength'], 'needs cidr');
      if (isThere(prefixLength) && (matchOperator === 'Equal' || matchOperator === 'NotEqual'))
        say(['prefixLength'], `says nothing with matchOperator ${matchOperator}`);
      if (isThere(operations) && action !== 'Accept')
        say(['operations'], 'must only be there with action Accept');
    },
  );
}

type Rule = z.output<ReturnType<typeof ruleOf>>;

const spec = z
  .strictObject({
    exportV4: z.array(ruleOf(4)).nullish(),
    importV4: z.array(ruleOf(4)).nullish(),
    exportV6: z.array(ruleOf(6)).nullish(),
    importV6: z.array(ruleOf(6)).nullish(),
  })
  .nullish();

export const bgpFilters: readonly Frontend[] = defineCalico('BGPFilter', spec, (name, spec) => ({
  filters: [
    {
      name,
      rules: {
        import: { 4: rulesOf(spec?.importV4), 6: rulesOf(spec?.importV6) },
        export: { 4: rulesOf(spec?.exportV4), 6: rulesOf(spec?.exportV6) },
      },
    },
  ],
}));

function rulesOf(rules: readonly Rule[] | null | undefined): FilterRule[] {
  return (rules ?? []).map((rule) => ({
    ...given('prefix', prefixOf(rule)),
    ...given('learned', rule.source === 'RemotePeers' ? (true as const) : undefined),
    ...given('interface', rule.interface),
    ...given('peer', peerOf(rule)),
    ...given('community', rule.communities?.values[0]),
    ...given('pathBegins', (rule.asPathPrefix ?? []).length === 0 ? undefined : rule.asPathPrefix),
    ...given('priority', rule.priority),
    action: rule.action === 'Accept' ? 'accept' : 'reject',
    operations: (rule.operations ?? []).flatMap(operationOf),
  }));
}

function peerOf({ peerType }: Rule): FilterRule['peer'] {
  if (!isThere(peerType)) return undefined;
  return peerType === 'eBGP' ? 'external' : 'internal';
}

function prefixOf({ cidr, matchOperator, prefixLength }: Rule): FilterRule['prefix'] {
  if (!isThere(cidr) || !isThere(matchOperator)) return undefined;
  return {
    within: cidr as NonNullable<typeof cidr>,
    operator: OPERATORS[matchOperator as NonNullable<typeof matchOperator>],
    ...given('min', prefixLength?.min),
    ...given('max', prefixLength?.max),
  };
}

function operationOf(found: z.output<typeof operation>): FilterOperation[] {
  if (!isFields(found)) return [];
  const { addCommunity, prependASPath, setPriority } = found as {
    addCommunity?: { value: readonly [number, number] };
    prependASPath?: { prefix: number[] };
    setPriority?: { value: number };
  };
  if (isThere(addCommunity) && addCommunity !== undefined) return [{ add: addCommunity.value }];
  if (isThere(prependASPath) && prependASPath !== undefined) return [{ prepend: prependASPath.prefix }];
  return setPriority === undefined ? [] : [{ priority: setPriority.value }];
}
