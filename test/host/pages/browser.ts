/** Debian’s Chromium without a window, driven by playwright-core. */
import { existsSync } from 'node:fs';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';

const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser'];
const program = PLACES.find((place) => existsSync(place));

/** Why tests with a browser cannot run here; false: they can. */
export const skipBrowser: string | false =
  program === undefined ? 'there is no Chromium: apt-get install chromium' : false;

export function startBrowser(): Promise<Browser> {
  return chromium.launch({ executablePath: program ?? '', args: ['--no-sandbox', '--disable-gpu'] });
}

export type Visit = AsyncDisposable & {
  readonly page: Page;
  /** What the page asked for, but for itself. */
  readonly requests: readonly string[];
  /** What went wrong in it. */
  readonly errors: readonly string[];
};

/** Opens a file in a profile of its own. */
export async function visit(
  browser: Browser,
  url: string,
  options: BrowserContextOptions = {},
): Promise<Visit> {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const requests: string[] = [];
  const errors: string[] = [];
  page.on('request', (request) => {
    if (request.url().split('#')[0] !== url.split('#')[0]) requests.push(request.url());
  });
  page.on('pageerror', (error) => errors.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error') errors.push(message.text());
  });
  await page.goto(url);
  return { page, requests, errors, [Symbol.asyncDispose]: () => context.close() };
}

/** For who looks: TARTAN_SCREENSHOTS names a directory. */
export async function keepScreenshot(page: Page, name: string): Promise<void> {
  const directory = process.env['TARTAN_SCREENSHOTS'];
  if (directory !== undefined) await page.screenshot({ path: `${directory}/${name}.png` });
}
