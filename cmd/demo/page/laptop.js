// The left column: the caller.

import { codePicture, h, pretty, show, shorten } from './dom.js';
import { operations, pathOf, status } from './nevisfido.js';

export const channels = [
  { name: 'push', title: 'Push' },
  { name: 'mail', title: 'E-mail' },
  { name: 'paper', title: 'Letter' },
  { name: 'sms', title: 'SMS' },
  { name: 'app-qr', title: 'QR code' },
  { name: 'app-link', title: 'Link' },
  { name: 'browser', title: 'Web push' },
  { name: 'push-then-mail', title: 'Fallback', hint: 'push, then e-mail, then SMS' },
  { name: 'everywhere', title: 'Fan-out', hint: 'push and e-mail' },
];

export const targets = { RSA: 'Phone with an RSA-2048 key', 'P-256': 'Phone with a P-256 key', unknown: 'A phone that nobody knows' };

const choice = (group, value, title, hint, checked) => h('label', { class: 'choice' },
  h('input', { type: 'radio', name: group, value, checked }), h('span', {}, title, hint && h('small', {}, hint)));

export function showChoices() {
  show('operations', Object.entries(operations).map(([name, o]) => choice('operation', name, o.title, undefined, name === 'login')));
  show('channels', channels.map((c, i) => choice('channel', c.name, c.title, c.hint, i === 0)));
  show('target', Object.entries(targets).map(([value, title]) => h('option', { value }, title)));
}

const sentences = {
  dispatched: 'The message is on its way.',
  dispatchTargetExpired: 'The phone’s address is gone, as after the app was removed. Install the app again on the phone, or use another way.',
  dispatchTargetNotFound: 'This phone is not known, or has no address for this channel.',
  dispatchError: 'The message could not be delivered.',
  internalError: 'Something is broken at our side. Try again later.',
};

export const isPicture = (answer) => typeof answer.dispatcherInformation?.response === 'string' && answer.dispatcherInformation.response.startsWith('iVBOR');
export const isLink = (answer) => typeof answer.dispatcherInformation?.response === 'string' && answer.dispatcherInformation.response.includes('dispatchTokenResponse=');

// showAnswer shows what the user of the laptop sees.
export function showAnswer(answer, asked, what) {
  const by = answer.dispatcherInformation?.name;
  const ok = answer.dispatchResult === 'dispatched';
  show('shown',
    h('p', { class: ok ? 'result' : 'result failed', 'data-result': answer.dispatchResult },
      h('strong', {}, answer.dispatchResult), ` ${sentences[answer.dispatchResult] ?? ''}`,
      !ok && what === 'registration' && ' A new phone has no key and no address yet: register it by the QR code or the link.',
      ok && by && by !== asked && h('span', { class: 'took-over' }, ` ${by} delivered it.`)),
    ok && isPicture(answer) && h('img', { id: 'qr', class: 'qr', alt: 'QR code for the phone', src: `data:image/png;base64,${answer.dispatcherInformation.response}` }),
    ok && isLink(answer) && h('p', { class: 'bubble', id: 'link' }, shorten(answer.dispatcherInformation.response, 80)),
    ok && answer.visualCode && h('div', { class: 'code' },
      h('p', {}, 'Compare with your phone'),
      h('output', { id: 'laptop-code' }, answer.visualCode),
      answer.visualCodePicture && codePicture('laptop-picture', answer.visualCodePicture)),
    h('p', { class: 'session', id: 'session' }, ''));
}

export function showFault(sentence) {
  show('shown', h('p', { class: 'result failed', 'data-result': 'fault' }, sentence));
}

// showAnswers puts nevisFIDO's answer beside what the caller got.
export function showAnswers(what, request, upstream, answer) {
  show('answers',
    h('details', {}, h('summary', {}, 'The request'), h('p', { class: 'meta' }, `POST ${pathOf(what)}`), pretty(request)),
    h('details', { open: matchMedia('(min-width: 700px)').matches }, h('summary', {}, 'The two answers'),
      h('div', { class: 'pair' },
        h('div', {}, h('h3', {}, 'nevisFIDO answered'), upstream ? pretty(upstream, answer, true)
          : h('p', { class: 'hint' }, 'It made no session for this dispatch.')),
        h('div', {}, h('h3', {}, 'The caller got'), pretty(answer, upstream, Boolean(upstream)))),
      h('p', { class: 'hint' }, 'What differs is marked.')));
}

const states = {
  tokenCreated: 'waiting for the phone',
  clientRegistering: 'the phone registers',
  clientAuthenticating: 'the phone has the message',
  succeeded: 'confirmed',
  failed: 'it ended without a confirmation',
  unknown: 'not known to nevisFIDO',
};

let watching = 0;

// watch shows the state of a session as it changes.
export async function watch(sessionId) {
  const mine = ++watching;
  let last;
  while (mine === watching) {
    try {
      const now = await status(sessionId);
      if (mine !== watching) return;
      if (now.status !== last) {
        last = now.status;
        show('session', h('span', { class: 'chip', 'data-status': last }, `Session: ${last}`), ` ${states[last] ?? ''}`);
      }
      if (['succeeded', 'failed', 'unknown'].includes(last)) return;
    } catch { /* the page says so when the demo is away */ }
    await new Promise((resolve) => setTimeout(resolve, 400));
  }
}

export const stopWatching = () => { watching++; };

// story tells in one sentence what happened, from the audit line.
export function story(line) {
  const failed = [...new Set((line?.attempts ?? []).filter((a) => a.class !== 'delivered').map((a) => `${a.dispatcher}: ${a.cause || a.reason}`))];
  const taken = (line?.fallbacks ?? []).map((f) => `${f.from} failed (${f.reason}), so ${f.to} was tried`);
  if (!failed.length && !taken.length) return line?.cause ? h('p', { class: 'story' }, `${line.cause}.`) : null;
  return h('div', { class: 'story', id: 'story' }, h('ul', {}, [...failed, ...taken].map((t) => h('li', {}, `${t}.`))));
}
