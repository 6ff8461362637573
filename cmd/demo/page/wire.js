// The middle column: what left the sidecar, and what can be read in it.

import { h, number, pretty, shorten, show } from './dom.js';
import { takeApart } from './jwe.js';
import { envelopeOf } from './keys.js';
import { bytesOf } from './strict.js';

const parties = {
  fcm: ['Firebase Cloud Messaging', 'Google sees the title, the phone’s push token and how long the message is. The message itself is sealed.'],
  smtp: ['E-mail', 'Every mail server on the way, and whoever reads the mailbox, sees the text and the code. The message in the code is sealed.'],
  webhook: ['SMS gateway', 'The gateway and the mobile networks see the number and the link. The message in the link is sealed.'],
  letter: ['Letter', 'The printer, the post and whoever opens the envelope see the code. The message in it is sealed.'],
  web_push: ['Web push', 'The push service sees the size. Its layer (RFC 8291) ends in the browser, and the message inside is sealed for the phone.'],
  link: ['Link', 'Whoever sees the link on its way to the phone can open nothing: the message in it is sealed.'],
  qr_code: ['QR code', 'Whoever looks over the shoulder, or takes a photograph, can open nothing: the message in the code is sealed.'],
};

const latin1 = (bytes) => Array.from(bytes, (b) => String.fromCharCode(b)).join('');

// search looks for the token in what left: as it is, and in what its base64
// texts hold, such as pictures and messages.
function search(token, texts) {
  let found = false;
  let decoded = 0;
  for (const text of texts) {
    found ||= text.includes(token);
    for (const [run] of text.replace(/=?\r?\n/g, '').matchAll(/[A-Za-z0-9+/_-]{32,}/g)) {
      const inner = bytesOf(run.slice(0, run.length - (run.length % 4 === 1 ? 1 : 0)));
      if (!inner) continue; // no base64
      decoded++;
      found ||= latin1(inner).includes(token);
    }
  }
  return { found, decoded };
}

// jweTable shows the parts of a compact JWE.
function jweTable(jwe) {
  const { alg, enc, parts } = takeApart(jwe);
  return h('table', { class: 'jwe' },
    h('caption', {}, 'The message, a JWE of five parts'),
    h('thead', {}, h('tr', {}, ['Part', 'What it is', 'Size'].map((t) => h('th', { scope: 'col' }, t)))),
    h('tbody', {}, parts.map(({ name, text, size, sentence }, i) => h('tr', {},
      h('th', { scope: 'row' }, name),
      h('td', {}, h('code', {}, i === 0 ? `${alg}, ${enc}` : shorten(text, 36)), h('span', {}, sentence)),
      h('td', { class: 'size' }, `${number(size)} B`)))));
}

function searchResult(a, token, sealed) {
  const texts = [latin1(a.raw), a.content ?? ''];
  const { found, decoded } = search(token, texts);
  const inside = { 0: '', 1: ', and in the base64 text in them' }[decoded] ?? `, and in the ${number(decoded)} base64 texts in them`;
  const where = `${number(a.raw.length)} bytes${inside}`;
  if (found) {
    return h('p', { class: 'verdict bad', 'data-found': 'yes' }, h('strong', {}, 'The token can be read here. '),
      sealed ? '' : 'This message is in clear: there is no key to seal it with yet. So it goes to the caller’s own screen only.');
  }
  return h('p', { class: 'verdict good', 'data-found': 'no' }, h('strong', {}, 'Not found: '), `the token ${token} was searched in ${where}.`);
}

const view = {
  fcm: (a) => pretty(JSON.parse(latin1(a.raw))),
  smtp: (a) => h('iframe', { src: a.view, title: `The mail “${a.subject}” as a mail program shows it`, class: 'mail', sandbox: '' }),
  webhook: (a) => h('p', { class: 'bubble' }, shorten(JSON.parse(latin1(a.raw)).text ?? '', 160)),
  letter: (a) => a.view.endsWith('/picture') ? h('img', { src: a.view, class: 'letter', alt: 'The page of the letter' }) : h('object', { data: a.view, type: 'application/pdf', class: 'letter', 'aria-label': 'The letter' },
    h('p', { class: 'hint' }, 'This browser shows no PDF here.')),
  link: (a) => h('p', { class: 'bubble' }, shorten(latin1(a.raw), 160)),
  qr_code: (a) => h('img', { class: 'qr', alt: 'The QR code', src: `data:image/png;base64,${btoa(latin1(a.raw))}` }),
};

const binary = (a) => ['qr_code', 'letter', 'web_push'].includes(a.channel);

function source(a) {
  if (binary(a)) return `${Array.from(a.raw.slice(0, 48), (b) => b.toString(16).padStart(2, '0')).join(' ')} …`;
  const text = new TextDecoder().decode(a.raw);
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text.length > 6000 ? `${text.slice(0, 6000)}\n… (${number(text.length)} characters)` : text;
  }
}

const headers = (a) => a.method && h('pre', { tabindex: '0', role: 'group', 'aria-label': 'Request' }, [`${a.method} ${a.url}`,
  ...Object.entries(a.header).flatMap(([name, values]) => values.map((v) => `${name}: ${shorten(v, 60)}`))].join('\n'));

function card(a, token) {
  const [title, sentence] = parties[a.channel];
  let envelope;
  try {
    envelope = a.content && envelopeOf(a.content);
  } catch { /* such as a short link: there is nothing to take apart */ }
  const sealed = envelope?.nma_data_content_type === 'application/jose';
  return h('article', { class: 'card', 'data-channel': a.channel },
    h('header', {}, h('h3', {}, title), h('p', { class: 'meta' },
      `${number(a.raw.length)} bytes${a.times > 1 ? `, sent ${a.times} times` : ''}`)),
    h('p', {}, sealed || a.channel === 'web_push' ? sentence : 'The message is in clear.'),
    searchResult(a, token, sealed),
    view[a.channel]?.(a),
    sealed && jweTable(envelope.nma_data),
    h('details', {}, h('summary', {}, a.channel === 'smtp' ? 'Source of the mail' : 'Exactly what left'), headers(a),
      h('pre', { tabindex: '0', role: 'group', 'aria-label': 'Content' }, source(a))));
}

// showWire shows what left in a dispatch. The answer's token was searched in
// all of it.
export function showWire(artefacts, token) {
  if (artefacts.length === 0) {
    show('artefacts', h('p', { class: 'empty' }, 'Nothing left the sidecar.'));
    return;
  }
  show('artefacts', artefacts.map((a) => card(a, token)));
}

// addContent tells of the content of a web push, which only the browser could
// open.
export function addContent(content) {
  const place = document.querySelector('[data-channel=web_push]');
  const envelope = envelopeOf(content);
  if (!place || place.querySelector('.jwe') || envelope.nma_data_content_type !== 'application/jose') return;
  place.querySelector('details').before(h('p', { class: 'hint' }, 'Inside, after the browser has opened its layer:'), jweTable(envelope.nma_data));
}
