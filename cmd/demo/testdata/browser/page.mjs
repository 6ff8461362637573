// Uses the demo's page in Chromium as people do, and tells what was to be seen
// there. The job comes on the standard input and the result goes to the
// standard output, in JSON; see browser_test.go.

import { readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import jsQR from 'jsqr';
import { chromium } from 'playwright-core';
import { PNG } from 'pngjs';

const job = JSON.parse(await text(process.stdin));
const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const began = Date.now();

const video = join(job.pictures, 'camera.y4m'); // what the camera sees
const browser = await chromium.launch({
  executablePath: job.chromium,
  args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
    '--use-fake-device-for-media-stream', `--use-file-for-fake-video-capture=${video}`],
});

const complaints = [];
const violations = {};
let expected = /(?!)/; // what the browser may complain of in a scene

// visit opens the page with a fresh browser.
async function visit(options) {
  const context = await browser.newContext({ reducedMotion: 'reduce', viewport: { width: 1280, height: 800 }, ...options });
  context.setDefaultTimeout(job.patience);
  return again(context);
}

async function again(context) {
  const page = await context.newPage();
  page.on('pageerror', (e) => complaints.push(e.message));
  page.on('console', (m) => {
    const said = `${m.type()}: ${m.text()} ${m.location().url}`;
    if (!expected.test(said)) complaints.push(said);
  });
  await page.goto(job.url);
  await ready(page);
  return page;
}

const ready = (page) => page.waitForSelector('#start:enabled');
const turn = (page, name, position) => page.selectOption(`#switch-${name}`, position);
const texts = async (page, selector) => (await page.locator(selector).allInnerTexts()).join('\n');

// send asks for a dispatch by clicking, and waits until the page has told all.
async function send(page, channel, { operation = 'login', target = 'RSA' } = {}) {
  await page.locator('label.choice', { has: page.locator(`input[value="${operation}"]`) }).click();
  await page.locator('label.choice', { has: page.locator(`input[value="${channel}"]`) }).click();
  await page.selectOption('#target', target);
  await page.click('#start');
  await page.waitForSelector('#timeline h3, [data-result=fault]');
  await ready(page);
  const story = await texts(page, '#story');
  return {
    result: await page.locator('[data-result]').getAttribute('data-result'),
    tookOver: (await texts(page, '.took-over')).trim(),
    story,
    timeline: await page.locator('#timeline h3, #timeline .ms').evaluateAll((all) => all.map((m) => Number(m.innerText.replace(/[^0-9]/g, '')))),
    channels: await page.locator('#artefacts article').evaluateAll((all) => all.map((a) => a.dataset.channel).sort().join(' ')),
    tokenFound: await page.locator('[data-found]').evaluateAll((all) => all.map((p) => p.dataset.found).join(' ')),
    parts: await page.locator('.jwe tbody tr').count(),
  };
}

// take opens a message on the phone, by its first button.
async function take(page, card = '#incoming article') {
  await page.locator(card).first().getByRole('button').click();
  await page.waitForSelector('#confirm, #phone-failure');
  return {
    failure: await texts(page, '#phone-failure'),
    laptopCode: await texts(page, '#laptop-code'), phoneCode: await texts(page, '#phone-code'),
    laptopPicture: await source(page, '#laptop-picture'), phonePicture: await source(page, '#phone-picture'),
    payment: await texts(page, '.payment'),
  };
}

const source = (page, selector) => page.locator(selector).evaluateAll((all) => all.map((p) => p.src).join(''));

// confirm confirms on the phone, and waits for the laptop.
async function confirm(page) {
  await page.click('#confirm');
  await page.waitForSelector('[data-status=succeeded]');
  return { session: 'succeeded', steps: await steps(page) };
}

const steps = (page) => page.locator('#steps li').evaluateAll((all) => all.map((li) => li.dataset.state[0]).join(''));

// check has axe look at the page, and takes a picture of it.
async function check(page, name) {
  await page.evaluate(() => window.axe !== undefined) || await page.evaluate(axe);
  const { violations: found } = await page.evaluate(() => window.axe.run({ exclude: [['iframe']] }));
  violations[name] = found.map((v) => `${v.id}: ${v.nodes.map((n) => n.target.join(' ')).join(', ')}`);
  await page.screenshot({ path: join(job.pictures, `${name}.png`), fullPage: true });
}

const scenes = {
  // Every channel, by clicking.
  async channels(page) {
    await check(page, 'start');
    const seen = {};
    for (const channel of job.channels) {
      seen[channel] = { ...await send(page, channel), ...await take(page) };
      if (channel === 'app-qr') seen.qr = { ...await readScreen(page), ...await useCamera(page) };
      Object.assign(seen[channel], await confirm(page));
      if (['push', 'mail', 'paper', 'app-qr'].includes(channel)) await check(page, channel);
    }
    return seen;
  },

  // A payment for a phone with an EC key, a rejection, and a registration.
  async operations(page) {
    const payment = { ...await send(page, 'push', { operation: 'payment', target: 'P-256' }), ...await take(page), ...await confirm(page) };
    await send(page, 'push');
    await take(page);
    await page.click('#reject');
    const rejected = { steps: await steps(page) };
    const registration = { ...await send(page, 'app-qr', { operation: 'registration' }), ...await take(page), ...await confirm(page) };
    await check(page, 'registration');
    const after = { ...await send(page, 'push'), ...await take(page), ...await confirm(page) };
    const nobody = await send(page, 'push', { target: 'unknown' });
    return { payment, rejected, registration, after, nobody };
  },

  // Every switch.
  async switches(page) {
    const seen = {};
    for (const { name, turns, channel, look, mend } of job.switches) {
      expected = /demo\/health|targets/;
      for (const [s, position] of Object.entries(turns ?? {})) await turn(page, s, position);
      seen[name] = { ...await send(page, channel), health: await texts(page, '#health'), step3: await texts(page, '#step-3') };
      if (look) Object.assign(seen[name], await take(page));
      if (name === 'FCM fails, and the mail server refuses') await check(page, 'broken');
      for (const s of Object.keys(turns ?? {})) await turn(page, s, { key: 'registered', nevisfido: 'LTS21' }[s] ?? 'works');
      if (mend) {
        await page.locator('details.extras').evaluate((d) => { d.open = true; });
        await page.click('#renew');
        await page.waitForSelector('#renewed');
      }
      expected = /(?!)/;
    }
    return seen;
  },

  // A page that is opened while the store fails, and goes on when it works.
  async storeless(page) {
    expected = /demo\/health|targets|registration/;
    await turn(page, 'store', 'fails');
    await page.waitForSelector('#health.bad');
    await page.reload();
    await page.waitForSelector('#notice:visible');
    await ready(page);
    const opened = await texts(page, '#notice');
    await page.locator('details.extras').evaluate((d) => { d.open = true; });
    await page.click('#renew');
    const unregistered = await texts(page, '#phone-failure');
    await send(page, 'app-qr', { operation: 'registration' });
    await take(page);
    await page.click('#confirm');
    await page.waitForSelector('#redeemed.failure');
    const registering = await texts(page, '#redeemed');
    await turn(page, 'store', 'works');
    await page.waitForSelector('#health.good');
    expected = /(?!)/;
    const after = { ...await send(page, 'push'), ...await take(page), ...await confirm(page) };
    return { opened, unregistered, registering, after, notice: await texts(page, '#notice') };
  },

  // What nobody should give to the phone.
  async nonsense(page) {
    await page.locator('details.extras').evaluate((d) => { d.open = true; });
    const seen = {};
    const failure = async (act) => {
      await page.evaluate(() => document.getElementById('opened').replaceChildren());
      await act();
      await page.waitForSelector('#phone-failure');
      return texts(page, '#phone-failure');
    };
    const file = (name, buffer) => failure(() => page.setInputFiles('#picture', { name, mimeType: 'image/png', buffer }));
    const paste = (value) => failure(async () => {
      await page.fill('#pasted', value);
      await page.click('#open-pasted');
    });
    seen['no picture'] = await file('a.png', Buffer.from('this is a text'));
    seen['no code'] = await file('b.png', PNG.sync.write(new PNG({ width: 60, height: 60, fill: true })));
    for (const [name, value] of Object.entries(job.nonsense)) seen[name] = await paste(value);
    const sent = await send(page, 'app-link');
    await take(page);
    await confirm(page);
    seen.again = await (async () => {
      await page.locator('#incoming article').getByRole('button').click();
      await page.click('#confirm');
      await page.waitForSelector('#redeemed.failure');
      return texts(page, '#redeemed');
    })();
    expected = /(?!)/;
    return { ...seen, sent: sent.result };
  },

  // A second page has a phone of its own; what is broken is broken for both.
  async twice(page) {
    const second = await again(page.context());
    const told = [];
    for (const p of [page, second]) {
      await p.waitForSelector('#pages:visible');
      told.push(await texts(p, '#pages'));
    }
    await turn(second, 'sms', 'rejected');
    await page.waitForFunction(() => document.getElementById('switch-sms').value === 'rejected');
    await turn(second, 'sms', 'works');
    await page.waitForFunction(() => document.getElementById('switch-sms').value === 'works');
    const first = { ...await send(page, 'push'), ...await take(page), ...await confirm(page) };
    const other = await second.locator('#incoming article').count();
    await second.close();
    await page.waitForSelector('#pages', { state: 'hidden' });
    return { told, first, other };
  },

  // The demo ends and comes back under the page.
  async restart(page) {
    expected = /Failed to load resource|net::ERR/;
    await fetch(`${job.control}/stop`, { method: 'POST' });
    await page.waitForSelector('#notice:visible');
    const away = await texts(page, '#notice');
    await page.evaluate(() => {
      document.getElementById('opened').replaceChildren();
      document.querySelector('details.extras').open = true;
    });
    await page.click('#renew');
    await page.waitForSelector('#phone-failure');
    const renewing = await texts(page, '#phone-failure');
    await fetch(`${job.control}/start`, { method: 'POST' });
    await ready(page);
    const back = await texts(page, '#notice');
    expected = /(?!)/;
    return { away, renewing, back, sent: { ...await send(page, 'push'), ...await take(page), ...await confirm(page) } };
  },
};

// readScreen reads the QR code on the laptop's screen from a picture of it.
async function readScreen(page) {
  const picture = PNG.sync.read(await page.locator('#qr').screenshot());
  return {
    screen: jsQR(new Uint8ClampedArray(picture.data), picture.width, picture.height)?.data ?? '',
    answered: (await page.locator('#qr').getAttribute('src')).split(',')[1],
  };
}

// useCamera has the page's camera look at the QR code on the laptop's screen,
// at first without being allowed to.
async function useCamera(page) {
  const code = PNG.sync.read(Buffer.from((await page.locator('#qr').getAttribute('src')).split(',')[1], 'base64'));
  const margin = 40;
  const zoom = 2;
  const [width, height] = [code.width, code.height].map((side) => side * zoom + 2 * margin);
  const luma = Buffer.alloc(width * height, 255);
  for (let y = 0; y < code.height * zoom; y++) {
    for (let x = 0; x < code.width * zoom; x++) {
      luma[(y + margin) * width + x + margin] = code.data[4 * (Math.floor(y / zoom) * code.width + Math.floor(x / zoom))];
    }
  }
  await writeFile(video, Buffer.concat([Buffer.from(`YUV4MPEG2 W${width} H${height} F5:1 Ip A1:1 C420\nFRAME\n`), luma, Buffer.alloc(width * height / 2, 128)]));
  await page.locator('details.extras').evaluate((d) => { d.open = true; });
  await page.click('#camera');
  await page.waitForSelector('#phone-failure');
  const refused = await texts(page, '#phone-failure');
  await page.context().grantPermissions(['camera']);
  await page.click('#camera');
  await page.waitForSelector('#confirm');
  return { refused, camera: await texts(page, '#step-8') };
}

// keyboard is a user without a mouse, in the dark.
async function keyboard() {
  const page = await visit({ colorScheme: 'dark' });
  const tabTo = async (selector) => {
    for (let i = 0; i < 60; i++) {
      await page.keyboard.press('Tab');
      if (await page.evaluate((s) => document.activeElement?.matches(s), selector)) return;
    }
    throw new Error(`the Tab key does not lead to ${selector}`);
  };
  await tabTo('input[name=operation]');
  await page.keyboard.press('ArrowRight');
  await tabTo('input[name=channel]');
  await page.keyboard.press('ArrowRight');
  await tabTo('#start');
  await page.keyboard.press('Enter');
  await page.waitForSelector('#incoming button');
  await ready(page);
  await tabTo('#incoming button');
  await page.keyboard.press('Enter');
  await page.waitForSelector('#confirm');
  await tabTo('#confirm');
  await page.keyboard.press('Space');
  await page.waitForSelector('[data-status=succeeded]');
  await check(page, 'dark');
  const seen = { steps: await steps(page), payment: await texts(page, '.payment') };
  await page.context().close();
  return seen;
}

// pocket is a user with a small phone.
async function pocket() {
  const page = await visit({ viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true });
  const seen = { ...await send(page, 'everywhere'), ...await take(page), ...await confirm(page) };
  await check(page, 'pocket');
  seen.scrollWidth = await page.locator('html').evaluate((html) => html.scrollWidth);
  await page.context().close();
  return seen;
}

// portrait takes the picture of the README.
async function portrait() {
  const page = await visit({ viewport: { width: 1360, height: 940 }, deviceScaleFactor: 0.7 });
  await send(page, 'push', { operation: 'payment' });
  await take(page);
  await confirm(page);
  await page.evaluate(() => window.scrollTo(0, 0));
  await page.screenshot({ path: job.portrait });
  await page.context().close();
}

const result = { took: {} };
try {
  const page = await visit({});
  for (const [name, play] of Object.entries(scenes)) {
    const start = Date.now();
    result[name] = await play(page).catch(async (e) => {
      await page.screenshot({ path: join(job.pictures, 'failed.png'), fullPage: true });
      throw new Error(`${name}: ${e.message}\nThe page says:\n${await texts(page, 'body')}\nThe browser complains: ${complaints}`);
    });
    result.took[name] = Date.now() - start;
  }
  result.keyboard = await keyboard();
  result.pocket = await pocket();
  if (job.portrait) {
    await page.context().close();
    await portrait();
  }
} finally {
  await browser.close();
}
result.took.all = Date.now() - began;
console.log(JSON.stringify({ ...result, complaints, violations }));
