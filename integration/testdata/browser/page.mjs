// Opens the pages of short links in Chromium as their users do, and tells what
// was to be seen there. The job comes on the standard input and the result goes
// to the standard output, in JSON; see browser_test.go.

import { chromium } from 'playwright-core';
import { text } from 'node:stream/consumers';

const job = JSON.parse(await text(process.stdin));

const browser = await chromium.launch({
  executablePath: job.chromium,
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
    `--host-resolver-rules=MAP * ${job.internet}`,
  ],
});

// visit has a user with a fresh browser act on a link. It returns what act
// returns, and what the browser complained about.
async function visit(link, options, act) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, ...options });
  context.setDefaultTimeout(job.patience);
  const complaints = [];
  const open = async () => {
    const page = await context.newPage();
    page.on('pageerror', (e) => complaints.push(e.message));
    page.on('console', (m) => {
      const used = m.location().url === link && m.text().includes('status of 404');
      if (!used) complaints.push(`${m.type()}: ${m.text()}`);
    });
    await page.goto(link);
    return page;
  };
  const seen = await act(await open(), open);
  await context.close();
  return { ...seen, complaints };
}

// look returns what the user sees.
async function look(page) {
  const button = page.getByRole('button');
  const box = await button.count() ? await button.boundingBox() : null;
  return {
    heading: await page.locator('h1').innerText(),
    text: await page.locator('p').innerText(),
    title: await page.title(),
    language: await page.locator('html').getAttribute('lang'),
    button: box ? await button.innerText() : '',
    buttonEnd: box ? Math.ceil(box.y + box.height) : 0,
    scrollWidth: await page.locator('html').evaluate((html) => html.scrollWidth),
  };
}

// loaded waits for the page that something leads to.
async function loaded(page, doing) {
  const load = page.waitForEvent('load');
  await doing();
  await load;
}

const atApp = (url) => url.host === job.app;

// read is a user who only looks at the page, on the smallest of phones.
const read = (locale) => visit(job.links.read, {
  locale, isMobile: true, hasTouch: true, viewport: job.phone,
}, async (page) => ({ looks: [await look(page)] }));

// follow is a user who has the page open twice, reloads it, and presses both
// buttons.
const follow = () => visit(job.links.follow, { locale: 'de-CH', viewport: job.phone }, async (first, open) => {
  await loaded(first, () => first.reload());
  const second = await open();
  const looks = [await look(first), await look(second)];
  await first.getByRole('button').click();
  await first.waitForURL(atApp);
  await loaded(second, () => second.getByRole('button').click());
  looks.push(await look(second));
  await loaded(second, () => second.goto(job.links.follow));
  looks.push(await look(second));
  return { looks, target: first.url() };
});

// followWithoutScripts is a user without JavaScript, who presses a key.
const followWithoutScripts = () => visit(job.links.withoutScripts, { javaScriptEnabled: false }, async (page) => {
  await page.locator('button:focus').waitFor();
  await page.keyboard.press('Enter');
  await page.waitForURL(atApp);
  return { looks: [], target: page.url() };
});

// followScheme is a user whose app has a scheme of its own. The page stays
// where it is, and its button is pressed once more: by a script, because the
// browser itself now asks whether to open the app.
const followScheme = () => visit(job.links.scheme, { viewport: job.phone }, async (page) => {
  const launched = page.waitForRequest((r) => r.url().startsWith(`${job.scheme}:`));
  await page.getByRole('button').click();
  const target = (await launched).url();
  const looks = [await look(page)];
  await loaded(page, () => page.getByRole('button').evaluate((button) => button.click()));
  looks.push(await look(page));
  return { looks, target };
});

const result = {};
try {
  result.follow = await follow();
  result.withoutScripts = await followWithoutScripts();
  result.scheme = await followScheme();
  for (const locale of job.locales) {
    result[locale] = await read(locale);
  }
} finally {
  await browser.close();
}
console.log(JSON.stringify(result));
