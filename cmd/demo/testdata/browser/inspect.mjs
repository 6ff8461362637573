// Uses the workbench of the demo's page in Chromium as people do, and tells what
// was to be seen there. The job comes on the standard input and the result goes
// to the standard output, in JSON; see inspect_test.go.

import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { chromium } from 'playwright-core';

const job = JSON.parse(await text(process.stdin));
const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const browser = await chromium.launch({
  executablePath: job.chromium,
  args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
const complaints = [];
const requests = [];
const violations = {};

async function visit(options) {
  const context = await browser.newContext({ reducedMotion: 'reduce', ...options });
  context.setDefaultTimeout(job.patience);
  const page = await context.newPage();
  page.on('pageerror', (e) => complaints.push(e.message));
  page.on('console', (m) => complaints.push(`${m.type()}: ${m.text()}`));
  page.on('request', (r) => {
    if (!/^(data|blob):/.test(r.url())) requests.push(`${r.method()} ${new URL(r.url()).pathname}${new URL(r.url()).search}`);
  });
  return page;
}

// seen is what the page shows once it has changed.
async function seen(page, act) {
  await page.evaluate(() => document.getElementById('verdict').replaceChildren('waiting'));
  await act();
  await page.waitForFunction(() => document.getElementById('verdict').textContent !== 'waiting');
  return {
    verdict: await page.locator('#verdict').innerText(),
    layers: await page.locator('#result h3').allInnerTexts(),
    text: await page.locator('#result').innerText(),
    parts: await page.locator('#result tbody tr').count(),
    title: await page.locator('#result svg title').evaluateAll((all) => all.map((t) => t.textContent).join(' ')),
  };
}

async function check(page, name) {
  (await page.evaluate(() => window.axe !== undefined)) || (await page.evaluate(axe));
  const { violations: found } = await page.evaluate(() => window.axe.run());
  violations[name] = found.map((v) => `${v.id}: ${v.nodes.map((n) => n.target.join(' ')).join(', ')}`);
  await page.screenshot({ path: join(job.pictures, `inspect-${name}.png`), fullPage: true });
}

// drop drops a file, or a text, on the page.
const drop = (page, item) =>
  page.evaluate(({ name, base64, string }) => {
    const transfer = new DataTransfer();
    if (string) transfer.setData('text/plain', string);
    else transfer.items.add(new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], name));
    document.body.dispatchEvent(new DragEvent('drop', { dataTransfer: transfer, bubbles: true, cancelable: true }));
  }, item);

const paste = (page, base64) =>
  page.evaluate((content) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([Uint8Array.from(atob(content), (c) => c.charCodeAt(0))], 'image.png', { type: 'image/png' }));
    document.body.dispatchEvent(new ClipboardEvent('paste', { clipboardData: transfer, bubbles: true, cancelable: true }));
  }, base64);

const result = { forms: {}, nonsense: {}, after: {} };
try {
  const page = await visit({ viewport: { width: 1280, height: 800 } });
  await page.goto(job.url);
  await check(page, 'start');
  const loaded = requests.length;

  result.example = await seen(page, () => page.click('#example'));
  await check(page, 'example');
  await page.click('#clear');

  const file = (name, content) => ({ name, mimeType: 'application/octet-stream', buffer: Buffer.from(content, 'base64') });
  await seen(page, () => page.locator('#key').evaluate((e, key) => ((e.value = key), e.dispatchEvent(new Event('input'))), job.key));
  for (const [name, value] of Object.entries(job.texts)) result.forms[name] = await seen(page, () => page.fill('#message', value));
  result.forms['chosen picture'] = await seen(page, () => page.setInputFiles('#file', file('code.png', job.picture)));
  await check(page, 'picture');
  result.forms['dropped picture'] = await seen(page, () => drop(page, { name: 'code.png', base64: job.picture }));
  result.forms['dropped link'] = await seen(page, () => drop(page, { string: job.texts.link }));
  result.forms['pasted picture'] = await seen(page, () => paste(page, job.picture));
  result.shown = await seen(page, () => page.locator('#show-token').evaluate((box) => box.click()));
  await seen(page, () => page.locator('#show-token').evaluate((box) => box.click()));

  for (const [name, value] of Object.entries(job.nonsense.texts)) {
    result.nonsense[name] = await seen(page, () => page.fill('#message', value));
    result.after[name] = await seen(page, () => page.fill('#message', job.texts.link));
  }
  for (const [name, content] of Object.entries(job.nonsense.files)) {
    result.nonsense[name] = await seen(page, () => page.setInputFiles('#file', file(name, content)));
    result.after[name] = await seen(page, () => page.fill('#message', job.texts.link));
  }
  const setKey = (key) => seen(page, () => page.locator('#key').fill(key, { force: true }));
  await page.locator('#key-details').evaluate((d) => { d.open = true; });
  for (const [name, key] of Object.entries(job.nonsense.keys)) {
    result.nonsense[name] = await setKey(key);
    result.after[name] = await setKey(job.key);
  }
  await setKey(Object.values(job.nonsense.keys)[0]);
  await check(page, 'broken');

  result.sent = requests.slice(loaded);
  result.allowed = await page.evaluate(() => fetch('/').then(() => true, () => false));
  complaints.splice(0, complaints.length, ...complaints.filter((c) => !/connect-src 'none'|Fetch API cannot load|Refused to connect/.test(c)));

  const pocket = await visit({ viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true, colorScheme: 'dark' });
  await pocket.goto(job.url);
  await seen(pocket, () => pocket.click('#example'));
  await check(pocket, 'pocket');
  result.scrollWidth = await pocket.locator('html').evaluate((html) => html.scrollWidth);
} finally {
  await browser.close();
}
console.log(JSON.stringify({ ...result, complaints, violations }));
