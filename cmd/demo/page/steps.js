// The ten steps of the out-of-band message transmission, and the timeline.

import { h, number, show, shorten, $ } from './dom.js';

const titles = [
  'The relying party asks for a dispatch',
  'The sidecar finds the public key of the target',
  'The message is encrypted',
  'It is handed to the channel',
  'The channel answers',
  'The relying party gets token and session',
  'Both sides show the same code',
  'The phone receives the message',
  'The phone finds its private key',
  'It decrypts, and redeems the token',
];

export function clearSteps() {
  show('steps', titles.map((title, i) => h('li', { id: `step-${i + 1}`, 'data-state': 'waiting' },
    h('span', { class: 'dot', 'aria-hidden': 'true' }, String(i + 1)), h('div', {}, h('h3', {}, title), h('p', {}, 'not yet')))));
  show('timeline');
}

// step tells what was observed at a step; from names where.
export function step(n, state, observed, from) {
  const li = $(`step-${n}`);
  li.dataset.state = state;
  li.querySelector('p').replaceChildren(h('span', { class: 'state' }, { done: 'Done. ', failed: 'Failed. ', skipped: 'Not done. ' }[state]),
    ...[observed].flat(), ' ', h('span', { class: 'from' }, from));
}

const audit = 'Audit line';

const hash = (text) => h('code', {}, text);

// stepsOf tells of the steps that operators see, from the audit line and the
// health report.
export function stepsOf(line, health, answer) {
  if (!line) {
    step(1, 'failed', 'The audit trail has no line of it.', audit);
    return;
  }
  const delivered = line.result === 'dispatched';
  step(1, 'done', `${line.operation} over ${line.dispatcher}, answered after ${line.ms} ms.`, audit);
  if (line.thumbprint) step(2, 'done', hash(line.thumbprint), audit);
  else step(2, line.encryption === 'clear' ? 'skipped' : 'failed', line.encryption === 'clear' ? 'There is no key yet.' : reason(line), audit);
  if (line.alg) step(3, 'done', `${line.alg} and ${line.enc}.`, audit);
  else if (line.encryption === 'sealed_upstream') step(3, 'done', 'nevisFIDO had sealed it; it is passed on as it is.', audit);
  else if (line.encryption === 'clear') step(3, 'skipped', 'In clear, to the caller’s own screen.', audit);
  else step(3, 'failed', 'No message was made.', audit);
  const attempts = line.attempts ?? [];
  if (attempts.length) step(4, 'done', attempts.map((a) => `${a.dispatcher}: ${a.class}${a.reason ? ` (${a.reason})` : ''}, ${a.ms} ms`).join('; ') + '.', audit);
  else step(4, 'failed', 'Nothing was handed over.', audit);
  const last = line.delivered && health?.dispatchers?.[line.delivered]?.last_success;
  step(5, delivered ? 'done' : 'failed', delivered
    ? `Delivered by ${line.delivered}${last ? `, which reports its last success at ${new Date(last).toLocaleTimeString('en-GB')}` : ''}.` : reason(line),
  last ? 'Audit line and health' : audit);
  if (answer?.token && line.token) step(6, 'done', ['Token ', hash(line.token), ', session ', hash(line.session), '.'], audit);
  else step(6, 'failed', 'There is no session.', audit);
  if (!delivered) [7, 8, 9, 10].forEach((n) => step(n, 'skipped', 'No message arrived.', ''));
}

const reason = (line) => `${line.result}: ${line.cause || line.reason || line.class}.`;

// timeline shows where the milliseconds went. Members of a fan_out work side by
// side, all others one after the other.
export function timeline(line) {
  if (!line) return;
  const attempts = line.attempts ?? [];
  const laneOf = (a) => (line.dispatcher === 'everywhere' ? a.dispatcher : '');
  const lanes = {}; // the time that each takes
  for (const a of attempts) lanes[laneOf(a)] = (lanes[laneOf(a)] ?? 0) + a.ms;
  const before = Math.max(0, line.ms - Math.max(0, ...Object.values(lanes)));
  const waited = attempts.some((a) => a.class === 'temporary');
  const rows = [{ name: waited ? 'nevisFIDO, key, sealing, pauses' : 'nevisFIDO, key, sealing', start: 0, ms: before }];
  const at = {};
  for (const a of attempts) {
    const start = at[laneOf(a)] ?? before;
    rows.push({ name: `${a.dispatcher}: ${a.class}`, start, ms: a.ms, failed: a.class !== 'delivered' });
    at[laneOf(a)] = start + a.ms;
  }
  const whole = Math.max(line.ms, 1);
  show('timeline', h('h3', {}, `Where ${number(line.ms)} ms went`), h('ul', { class: 'bars' }, rows.map((r) => {
    const bar = h('span', { class: r.failed ? 'bar failed' : 'bar', 'aria-hidden': 'true' });
    bar.style.setProperty('--start', `${100 * r.start / whole}%`);
    bar.style.setProperty('--length', `${100 * r.ms / whole}%`);
    return h('li', {}, h('span', { class: 'name' }, r.name), h('span', { class: 'track' }, bar), h('span', { class: 'ms' }, `${number(r.ms)} ms`));
  })), h('details', {}, h('summary', {}, 'The audit line'), h('pre', { tabindex: '0', role: 'group', 'aria-label': 'Audit line' },
    JSON.stringify(line, (name, v) => (typeof v === 'string' ? shorten(v, 300) : v), 2))));
}
