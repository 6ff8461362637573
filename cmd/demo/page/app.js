// The page: connects the three columns with the demo's server.

import { $, call, h, post, show } from './dom.js';
import { canWork, makeKey, makePhone } from './keys.js';
import * as laptop from './laptop.js';
import * as nevisfido from './nevisfido.js';
import { arrived, clearPhone, openArtefact, showOwner } from './phone.js';
import { readCamera, readPicture } from './qr.js';
import { clearSteps, step, stepsOf, timeline } from './steps.js';
import { addContent, showWire } from './wire.js';

const switches = [
  ['fcm', 'Google', [['works', 'works'], ['unregistered', 'says UNREGISTERED'], ['429', 'says 429, too many'], ['503', 'says 503, unavailable'], ['silent', 'does not answer']]],
  ['mail', 'Mail server', [['works', 'works'], ['refuses', 'refuses the mail']]],
  ['sms', 'SMS gateway', [['works', 'works'], ['rejected', 'says no, with status 200']]],
  ['store', 'The sidecar’s store', [['works', 'works'], ['fails', 'fails']]],
  ['key', 'Key of the phone', [['registered', 'as registered'], ['missing', 'missing'], ['replaced', 'changed by somebody else']]],
  ['nevisfido', 'nevisFIDO', [['LTS21', 'LTS21: links in clear'], ['8.2511', '8.2511: seals its own links']]],
];

let handset; // push token and web push subscription, from the demo's server
let events;
let boot;
let phones = new Map(); // by kind and condition of the key
let phone; // that is shown
let answer; // on the laptop
let condition = 'registered'; // of the key

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function notice(text) {
  $('notice').hidden = !text;
  show('notice', text ?? '');
}

// phoneFor returns a registered phone. One whose key is missing registers none;
// where somebody else has changed it, another key arrives at nevisFIDO.
async function phoneFor(kind) {
  const name = `${kind} ${condition}`;
  if (!phones.has(name)) {
    const made = await makePhone(kind);
    const key = { registered: made.encryptionKey, missing: undefined, replaced: condition === 'replaced' && (await makeKey(kind)).encryptionKey }[condition];
    try {
      made.targetId = await nevisfido.register(made, handset.pushToken, key);
    } catch (error) {
      throw new Error(`The phone cannot be registered. ${error.message}`);
    }
    made.condition = condition;
    phones.set(name, made);
  }
  return phones.get(name);
}

async function showHealth() {
  const health = await (await fetch('/demo/health', { cache: 'no-store' })).json();
  const [handler] = health.oob_dispatch;
  $('health').className = health.ready ? 'chip good' : 'chip bad';
  show('health', health.ready ? 'Sidecar: ready' : 'Sidecar: not ready, the store cannot be written');
  return handler;
}

const context = () => ({
  phone, answer,
  registered: async (redeemed) => {
    phone.targetId = await nevisfido.enrol(phone, handset.pushToken, redeemed);
    phone.condition = 'registered';
    phones.set(`${phone.kind} registered`, phone);
    showOwner(phone);
  },
});

const openWith = (via, find) => async () => openArtefact(await find(), via, context());

// scan returns what the phone's camera reads.
async function scan(reading) {
  try {
    return (await reading).text;
  } catch (fault) {
    throw new Error(`The camera finds no message: ${fault.message}.`);
  }
}

// offer puts what the phone's user can take from a channel on the phone's
// screen.
function offer(artefacts) {
  for (const a of artefacts) {
    if (a.channel === 'smtp') arrived('got-mail', 'In the mail', a.subject, 'Scan the code', openWith('e-mail', () => a.content));
    if (a.channel === 'letter') arrived('got-letter', 'In the letter', 'A code on paper', 'Scan the code', openWith('letter', () => a.content));
    if (a.channel === 'webhook') arrived('got-sms', 'SMS', 'Please confirm', 'Tap the link', openWith('SMS', () => a.content));
    if (a.channel === 'link') arrived('got-link', 'A link', 'on this phone', 'Tap the link', openWith('link', () => a.content));
    if (a.channel === 'qr_code') arrived('got-qr', 'Camera', 'The laptop shows a code', 'Scan the code', openWith('QR code', () => scan(readPicture(new Blob([a.raw])))));
  }
}

// ownScreen returns what went to the caller's own screen, as an artefact.
async function ownScreen() {
  const { response } = answer.dispatcherInformation ?? {};
  if (laptop.isPicture(answer)) {
    const raw = Uint8Array.from(atob(response), (c) => c.charCodeAt(0));
    return [{ channel: 'qr_code', times: 1, raw, content: await scan(readPicture(new Blob([raw]))) }];
  }
  if (laptop.isLink(answer)) return [{ channel: 'link', times: 1, raw: new TextEncoder().encode(response), content: response }];
  return [];
}

async function choose(what, target) {
  if (what === 'registration') {
    phone = await makePhone(target === 'P-256' ? 'P-256' : 'RSA');
  } else if (target === 'unknown') {
    phone = await phoneFor('RSA');
  } else {
    phone = await phoneFor(target);
  }
  showOwner(phone);
  if (what === 'registration') return undefined;
  return target === 'unknown' ? crypto.randomUUID() : phone.targetId;
}

async function ask(form) {
  const what = form.get('operation');
  const channel = form.get('channel');
  laptop.stopWatching();
  notice();
  clearSteps();
  clearPhone();
  show('shown');
  show('answers');
  show('artefacts', h('p', { class: 'empty' }, 'On its way …'));
  answer = undefined;
  await turning;
  const targetId = await choose(what, $('target').value);
  const since = Date.now();
  const body = nevisfido.request(what, channel, targetId);
  answer = await nevisfido.dispatch(what, body, channel === 'browser' ? { 'X-Subscription': JSON.stringify(handset.subscription) } : {});
  laptop.showAnswer(answer, channel, what);
  if (answer.sessionId && answer.dispatchResult === 'dispatched') {
    laptop.watch(answer.sessionId);
  }
  const query = new URLSearchParams({ since, session: answer.sessionId ?? '', target: targetId ?? '', user: 'jeff' });
  const [seen, health] = await Promise.all([call('GET', `/demo/exchange?${query}`), showHealth()]);
  laptop.showAnswers(what, body, seen.nevisfido, answer);
  stepsOf(seen.audit, health, answer);
  timeline(seen.audit);
  const story = laptop.story(seen.audit);
  if (story) $('session').before(story);
  const artefacts = [...seen.wire.map((a) => ({ ...a, raw: Uint8Array.from(atob(a.raw), (c) => c.charCodeAt(0)) })), ...await ownScreen()];
  showWire(artefacts, answer.token ?? '');
  if (pushed) addContent(pushed);
  if (answer.dispatchResult === 'dispatched') {
    if (answer.visualCode) step(7, 'waiting', `Laptop ${answer.visualCode}; the phone has not opened it yet.`, 'Answer');
    offer(artefacts);
  } else {
    show('incoming', h('p', { class: 'empty' }, 'Nothing arrived.'));
  }
}

let pushed; // the content of the last web push

async function submit(e) {
  e.preventDefault();
  const form = new FormData(e.target);
  $('start').disabled = true;
  pushed = undefined;
  try {
    await ask(form);
  } catch (error) {
    laptop.showFault(error.message);
    show('artefacts', h('p', { class: 'empty' }, 'Nothing left the sidecar.'));
  }
  $('start').disabled = !handset;
}

function showSwitches() {
  show('switches', switches.map(([name, title, positions]) => h('label', { class: 'switch', for: `switch-${name}` }, title,
    h('select', { id: `switch-${name}`, 'data-default': positions[0][0], change: (e) => turn(name, e.target.value) },
      positions.map(([value, text]) => h('option', { value }, text))))));
}

function mark(select) {
  select.parentElement.classList.toggle('broken', select.value !== select.dataset.default);
}

let turned = {}; // positions, as the server has told
let turning = Promise.resolve(); // what is being told to the server
let waiting = 0;

// showPositions moves the switches to where they are, but for those that the
// user has just moved.
function showPositions() {
  if (waiting > 0) return;
  for (const [name, position] of Object.entries(turned)) {
    const select = $(`switch-${name}`);
    select.value = position;
    mark(select);
  }
}

function turn(name, position) {
  mark($(`switch-${name}`));
  if (name === 'key') {
    condition = position;
    return;
  }
  waiting++;
  turning = turning.then(async () => {
    try {
      await post('/demo/switches', { name, position });
      turned[name] = position;
      if (name === 'store') await pause(1100); // the sidecar tries its store once a second
      await showHealth();
    } catch (error) {
      notice(error.message);
    }
    waiting--;
    showPositions();
  });
}

function listen() {
  events = new EventSource(`/demo/events/${handset.id}`);
  events.addEventListener('state', (e) => {
    const state = JSON.parse(e.data);
    boot = state.boot;
    turned = state.switches;
    showPositions();
    $('pages').hidden = state.pages < 2;
    show('pages', `This page is open ${state.pages} times. Each has a phone of its own; what is broken is broken for all.`);
  });
  events.addEventListener('push', (e) => {
    const { notification, data } = JSON.parse(e.data);
    arrived('got-push', 'Example Bank', notification.title || 'A message for you', 'Open', openWith('push', () => JSON.stringify(data)));
  });
  events.addEventListener('webpush', (e) => {
    pushed = JSON.parse(e.data).content;
    addContent(pushed);
    const content = pushed;
    arrived('got-webpush', 'The phone’s browser', 'A message for the app', 'Open', openWith('web push', () => content));
  });
  events.onerror = reconnect;
}

async function reconnect() {
  events.close();
  handset = undefined;
  $('start').disabled = true;
  $('health').className = 'chip bad';
  show('health', 'Sidecar: no answer');
  notice('The demo does not answer. This page waits for it, and goes on by itself.');
  const before = boot;
  while (!handset) {
    await pause(700);
    await connect().catch(() => { handset = undefined; });
  }
  notice(before === boot ? 'The connection was interrupted. The phone has registered again.' : 'The demo was started again. The phone has registered again; what was sent before is gone.');
}

async function connect() {
  handset = await post('/demo/handsets', {});
  phones = new Map();
  listen();
  await showHealth();
  try {
    phone = await phoneFor('RSA');
    showOwner(phone);
  } catch (error) {
    phone = undefined;
    show('owner', 'This phone is not registered yet.');
    notice(error.message);
  }
  $('start').disabled = false;
}

// byHand opens what the user gives to the phone.
async function byHand(find, via) {
  try {
    if (!phone) throw new Error('This phone is not registered yet. Send a message first.');
    await openArtefact(await find(), via, context());
  } catch (error) {
    show('opened', h('p', { class: 'failure', role: 'alert', id: 'phone-failure' }, error.message));
  }
}

let looking; // aborts the camera

// look reads a QR code with the camera of this machine. A second click stops it.
async function look() {
  if (looking) return looking.abort();
  looking = new AbortController();
  $('camera').textContent = 'Stop the camera';
  $('viewfinder').hidden = false;
  show('opened');
  await byHand(() => scan(readCamera($('viewfinder'), looking.signal)), 'camera');
  $('viewfinder').hidden = true;
  $('camera').textContent = 'Use the camera';
  looking = undefined;
}

async function renew() {
  try {
    if (!handset) throw new Error('The demo does not answer. Wait until it is back.');
    if (!phone) throw new Error('This phone is not registered yet. Send a message first.');
    const { pushToken } = await post(`/demo/handsets/${handset.id}/token`, {});
    handset.pushToken = pushToken;
    await nevisfido.modify(phone, { target: pushToken });
    show('opened', h('p', { role: 'status', id: 'renewed' }, 'The app was installed again. nevisFIDO and the sidecar know its new push token.'));
  } catch (error) {
    show('opened', h('p', { class: 'failure', role: 'alert', id: 'phone-failure' }, error.message));
  }
}

laptop.showChoices();
showSwitches();
clearSteps();
$('ask').addEventListener('submit', submit);
$('renew').addEventListener('click', renew);
$('camera').addEventListener('click', look);
$('picture').addEventListener('change', (e) => {
  const [file] = e.target.files;
  if (file) byHand(() => scan(readPicture(file)), 'picture');
});
$('open-pasted').addEventListener('click', () => byHand(() => $('pasted').value, 'hand'));
if (canWork()) {
  connect().catch((error) => notice(error.message));
} else {
  notice('The phone needs WebCrypto, which browsers have on https and on this machine only. Open the page as http://127.0.0.1 or http://localhost.');
}
