/** The pages that `tartan choose` writes, opened from their files in a real browser: by mouse, keyboard, on a phone, in the dark. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Browser, Page } from 'playwright-core';
import { measurementsDocument } from '../../../src/advisor/measure/document.ts';
import { renderPage } from '../../../src/advisor/page/page.ts';
import { renderBlocks } from '../../../src/advisor/choose/document.ts';
import { readPageFiles } from '../../../src/cli/page-files.ts';
import { type Measurements, METRIC_NAMES } from '../../../src/model/measurement.ts';
import { keepScreenshot, skipBrowser, startBrowser, visit } from './browser.ts';

const PHONE = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true };
const directory = mkdtempSync(join(tmpdir(), 'ch-page-'));
let browser: Browser;

before(async () => {
  if (skipBrowser === false) browser = await startBrowser();
});
after(async () => {
  await browser?.close();
  rmSync(directory, { recursive: true, force: true });
});

const heads = (page: Page) => page.locator('thead th').allTextContents();
const box = (page: Page, name: string) => page.getByRole('checkbox', { name, exact: true });
const cell = (page: Page, provider: string, feature: string) =>
  page.getByRole('button', { name: new RegExp(`^${provider}, ${feature}:`) });

describe('the matrix', { skip: skipBrowser }, () => {
  let url = '';
  before(() => {
    const words = ['choose', '--page', join(directory, 'out')];
    const file = execFileSync('dist/tartan', words, { encoding: 'utf8' }).trim();
    url = `file://${file}`;
  });

  test('all providers, from the file alone, and nothing goes wrong', async () => {
    await using seen = await visit(browser, url, { viewport: { width: 1500, height: 900 } });
    const shown = await heads(seen.page);
    for (const title of ['Calico', 'Cilium', 'kubenet', 'Tartan (profile canal)'])
      assert.ok(shown.includes(title));
    await keepScreenshot(seen.page, 'matrix');
    assert.deepEqual([seen.requests, seen.errors], [[], []]);
  });

  test('a requirement leaves out who has it not, says why, and stays in the address', async () => {
    await using seen = await visit(browser, url, { viewport: { width: 1500, height: 900 } });
    const { page } = seen;
    await page.locator('summary').first().click();
    await box(page, 'routes told by BGP').check();
    assert.ok(!(await heads(page)).includes('flannel'));
    assert.ok((await heads(page)).includes('Calico'));
    assert.match(
      await page.getByRole('status').innerText(),
      /Out, for want of routes told by BGP: .*flannel/,
    );
    await keepScreenshot(page, 'matrix-filtered');
    assert.match(page.url(), /#need=bgp$/);
    await page.reload();
    assert.ok(!(await heads(page)).includes('flannel'));
    await page.getByRole('button', { name: 'no longer: routes told by BGP' }).click();
    assert.ok((await heads(page)).includes('flannel'));
    assert.deepEqual(seen.errors, []);
  });

  test('side by side: who is chosen, and only where they differ', async () => {
    await using seen = await visit(browser, `${url}#show=calico,cilium`);
    const { page } = seen;
    assert.deepEqual(await heads(page), ['Feature', 'Calico', 'Cilium']);
    const all = await page.locator('tbody tr:not(.group)').count();
    await box(page, 'only rows in which they differ').check();
    const differing = await page.locator('tbody tr:not(.group)').count();
    assert.ok(differing > 3 && differing < all, `${differing} of ${all}`);
    await keepScreenshot(page, 'matrix-side-by-side');
  });

  test('every cell opens what is known of it, each claim with its source', async () => {
    await using seen = await visit(browser, url);
    const wrong = await seen.page.evaluate(() => {
      const dialog = document.querySelector('dialog');
      const data = JSON.parse(document.querySelector('#data')?.textContent ?? '{}') as {
        sources: Record<string, { title: string; url?: string }>;
      };
      const titles = new Map(Object.values(data.sources).map(({ title, url }) => [title, url]));
      const problems: string[] = [];
      const buttons = [...document.querySelectorAll<HTMLButtonElement>('td button')];
      for (const button of buttons) {
        button.click();
        const claims = [...(dialog?.querySelectorAll('li') ?? [])];
        const silent = dialog?.textContent?.includes('No source that was read') === true;
        if ((claims.length === 0) !== silent) problems.push(`${button.ariaLabel}: no claim`);
        for (const claim of claims) {
          const found = [...titles].find(([title]) => claim.textContent?.includes(title));
          const link = claim.querySelector('a');
          if (found === undefined || (found[1] !== undefined && link?.href === undefined))
            problems.push(`${button.ariaLabel}: ${claim.textContent}`);
        }
        dialog?.close();
      }
      return { problems, count: buttons.length };
    });
    assert.deepEqual(wrong.problems, []);
    assert.ok(wrong.count > 600, `only ${wrong.count} cells`);
  });

  test('sources that disagree are shown beside the one that counts', async () => {
    await using seen = await visit(browser, url);
    const { page } = seen;
    await cell(page, 'flannel', 'encryption between nodes').click();
    const text = await page.getByRole('dialog').innerText();
    assert.match(text, /Sources disagree; the newest one counts/);
    assert.match(text, /no\W+A comparison of network providers for EKS/);
    await keepScreenshot(page, 'matrix-evidence');
  });

  test('by keyboard alone: from the filters into the table, to a cell, its evidence and back', async () => {
    await using seen = await visit(browser, url);
    const { page } = seen;
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Space');
    assert.match(page.url(), /#need=encapsulation$/);
    const stops = await page.evaluate(
      () =>
        [...document.querySelectorAll<HTMLElement>('td button')].filter(({ tabIndex }) => tabIndex === 0)
          .length,
    );
    assert.equal(stops, 1, 'the table is one stop of Tab');
    const focused = () => page.evaluate(() => document.activeElement?.getAttribute('aria-label') ?? '');
    await page.locator('td button[tabindex="0"]').focus();
    const first = await focused();
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('ArrowRight');
    const second = await focused();
    assert.ok(second !== first && second !== '', second);
    await page.keyboard.press('Enter');
    assert.ok(await page.getByRole('dialog').isVisible());
    await page.keyboard.press('Escape');
    assert.ok(!(await page.getByRole('dialog').isVisible()));
    assert.equal(await focused(), second);
    await page.keyboard.press('End');
    await page.keyboard.press('Home');
    await page.keyboard.press('ArrowUp');
    await page.keyboard.press('PageUp');
    assert.equal(await focused(), first);
  });

  test('on a phone: no wider than the screen, few columns, and cells for fingers', async () => {
    await using seen = await visit(browser, url, PHONE);
    const { page } = seen;
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360);
    assert.ok((await heads(page)).length <= 3);
    await keepScreenshot(page, 'matrix-phone');
    await page.locator('summary').nth(1).tap();
    await box(page, 'Weave Net').tap();
    await box(page, 'Cilium').tap();
    await page.locator('summary').nth(1).tap();
    assert.deepEqual(new Set(await heads(page)), new Set(['Feature', 'Weave Net', 'Cilium']));
    const multicast = cell(page, 'Weave Net', 'multicast between pods');
    assert.ok(((await multicast.boundingBox())?.height ?? 0) >= 36);
    await multicast.tap();
    assert.match(await page.getByRole('dialog').innerText(), /weaveworks\/weave/);
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360);
    await keepScreenshot(page, 'matrix-phone-evidence');
  });

  for (const colorScheme of ['light', 'dark'] as const) {
    test(`${colorScheme}: every text stands out from what is behind it`, async () => {
      await using seen = await visit(browser, `${url}#need=bgp`, { colorScheme });
      assert.ok(((await contrasts(seen.page)).at(0) ?? 0) >= 4.5);
      await keepScreenshot(seen.page, `matrix-${colorScheme}`);
    });
  }
});

/** WCAG 2.2, contrast of the text of some of everything, the least first. */
function contrasts(page: Page): Promise<number[]> {
  return page.evaluate(() => {
    const numbers = (color: string): number[] => (color.match(/[\d.]+/g) ?? []).map(Number);
    const luminance = (color: string): number => {
      const [r = 0, g = 0, b = 0] = numbers(color)
        .slice(0, 3)
        .map((one) => (one / 255 <= 0.03928 ? one / 255 / 12.92 : ((one / 255 + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (start: Element): string => {
      for (let at: Element | null = start; at !== null; at = at.parentElement) {
        const color = getComputedStyle(at).backgroundColor;
        if (numbers(color)[3] !== 0) return color;
      }
      return 'rgb(255, 255, 255)';
    };
    const all = [
      'h1',
      'p',
      'th',
      'summary',
      'label',
      '.out',
      '.chip',
      '.yes',
      '.no',
      '.partly',
      '.unknown',
      '.text',
    ];
    return all
      .flatMap((selector) => [...document.querySelectorAll(selector)].slice(0, 3))
      .map((one) => {
        const [a, b] = [luminance(getComputedStyle(one).color), luminance(behind(one))];
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      })
      .sort((a, b) => a - b);
  });
}

const samples = (value: number) =>
  [value, value * 1.1, value * 0.95].map((one) => ({ value: one, cpuMs: one / 3 }));
const road = (title: string, encrypted: boolean, policies: number): Measurements['roads'][number] => ({
  road: title,
  title,
  encrypted,
  settings: {},
  policies,
  memoryMiB: 80,
  series: METRIC_NAMES.map((metric) => ({ metric, road: samples(800 + policies), bare: samples(1000) })),
});
const MEASURED: Measurements = {
  format: 1,
  at: '2026-01-01T00:00:00Z',
  host: { kernel: '6.12', cpu: 'a </script> processor', cpus: 2, memoryMiB: 1000 },
  rounds: 3,
  runMs: 100,
  roads: [road('VXLAN', false, 0), road('VXLAN', false, 1000), road('WireGuard', true, 0)],
  missing: [{ title: 'GRE', reason: 'Operation not supported' }],
};

describe('measurements', { skip: skipBrowser }, () => {
  let url = '';
  before(() => {
    const body = `<h1>Roads</h1><div id="plots"></div><div class="tables">${renderBlocks(measurementsDocument(MEASURED))}</div>`;
    const file = join(directory, 'roads.html');
    writeFileSync(file, renderPage({ title: 'Roads', body, data: MEASURED, ...readPageFiles('plots') }));
    url = `file://${file}`;
  });

  for (const colorScheme of ['light', 'dark'] as const) {
    test(`${colorScheme}: a plot of every figure with every run in it, and the tables`, async () => {
      await using seen = await visit(browser, url, { colorScheme, viewport: { width: 900, height: 900 } });
      const { page } = seen;
      assert.equal(await page.locator('#plots > figure').count(), METRIC_NAMES.length);
      const dots = await page.locator('figure').first().locator('g[aria-label=dot] path').count();
      assert.equal(dots, 3 * 2 * 3);
      assert.match(await page.locator('.tables').innerText(), /GRE: Operation not supported/);
      const ink = await page.evaluate(() => {
        const mark = document.querySelector('figure g[aria-label=dot]');
        return mark === null
          ? ''
          : `${getComputedStyle(mark).stroke} ${getComputedStyle(document.body).backgroundColor}`;
      });
      assert.match(ink, colorScheme === 'dark' ? /^rgb\(2\d\d.* rgb\(2\d, / : /^rgb\(2\d, .* rgb\(255, /);
      assert.deepEqual([seen.requests, seen.errors], [[], []]);
      await keepScreenshot(page, `roads-${colorScheme}`);
    });
  }

  test('printed: black on white also from a dark screen, no figure cut in two', async () => {
    await using seen = await visit(browser, url, { colorScheme: 'dark' });
    await seen.page.emulateMedia({ media: 'print' });
    const style = await seen.page.evaluate(() => {
      const { color, backgroundColor } = getComputedStyle(document.body);
      const figure = document.querySelector('figure');
      return [color, backgroundColor, figure === null ? '' : getComputedStyle(figure).breakInside];
    });
    assert.deepEqual(style, ['rgb(0, 0, 0)', 'rgb(255, 255, 255)', 'avoid']);
    await keepScreenshot(seen.page, 'roads-print');
  });
});
