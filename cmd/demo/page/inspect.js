// The workbench: takes apart what is pasted, dropped or chosen, and shows it.

import { readDeviceKey } from './devicekey.js';
import { $, h, number } from './dom.js';
import { examine, holdsToken } from './envelope.js';
import { makeExample } from './example.js';
import { readPicture } from './qr.js';
import { Fault, textOf } from './strict.js';
import { picture } from './visualcode.js';

const exampleDigits = 4; // of the visual code that is shown: the sidecar's option is not in the message

let file = null; // takes the place of the text until that changes
let run = 0; // only the last one is shown

async function inspect() {
  const mine = ++run;
  const input = file ?? $('message').value;
  if (typeof input === 'string' && input.trim() === '') return show('Nothing yet. Paste a message, or make an example.');
  let key, keyFault, seen, fault;
  try {
    const text = $('key').value.trim();
    if (text) key = await readDeviceKey(text);
  } catch (e) {
    keyFault = sentence(e);
  }
  try {
    seen = await examine(input, { key, readPicture });
  } catch (e) {
    fault = sentence(e);
    seen = e.seen;
  }
  const token = seen?.payload && textOf(seen.payload, 'token');
  const code = token ? await picture(token, exampleDigits) : null;
  if (mine !== run) return;
  show(verdictOf(seen?.problems ?? [], fault, keyFault), [...layers(seen ?? {}, key), code && visualCode(code)]);
}

// verdictOf says what is wrong; nothing for a message that has no fault.
function verdictOf(problems, fault, keyFault) {
  return [
    keyFault && h('p', {}, `The private key cannot be used: ${keyFault}.`),
    fault && h('p', {}, `It cannot be taken apart further: ${fault}.`),
    problems.length > 0 && h('p', {}, h('strong', {}, 'An app may stumble over this message:')),
    problems.length > 0 && h('ul', {}, ...problems.map((p) => h('li', {}, p))),
  ].filter(Boolean);
}

// sentence is what the user is told of an error.
function sentence(e) {
  if (e instanceof Fault) return e.message;
  console.error(e);
  return `this page cannot go on with it (${e.name})`;
}

// show replaces what is shown: a text, or what verdictOf found, and the layers.
function show(verdict, cards = []) {
  const bad = Array.isArray(verdict) && verdict.length > 0;
  $('verdict').classList.toggle('bad', bad);
  $('verdict').replaceChildren(...(verdict.length > 0 ? [verdict].flat() : ['Nothing that an app may stumble over.']));
  $('result').replaceChildren(...cards.filter(Boolean));
}

const characters = (n) => `${number(n)} characters`;
const bytes = (n) => `${number(n)} bytes`;

function card(title, sentence, ...content) {
  return h('article', { class: 'card' }, h('h3', {}, title), sentence && h('p', {}, sentence), ...content);
}

function facts(pairs) {
  return h(
    'dl',
    {},
    ...pairs.filter(([, value]) => value !== '' && value !== undefined).flatMap(([name, value]) => [h('dt', {}, name), h('dd', {}, value)]),
  );
}

// layers are the cards of what was seen, from the outside in.
function layers({ answer, picture: code, link, push, envelope, jwe, payload }, key) {
  return [
    answer &&
      card(
        'Answer',
        'What the caller of the dispatch got.',
        facts([
          ['result', answer.result],
          ['dispatcher', answer.dispatcher],
        ]),
      ),
    code &&
      card(
        'QR code',
        code.sentence,
        facts([
          ['version', `${code.version}, with ${code.modules} × ${code.modules} modules`],
          ['picture', `${code.width} × ${code.height} pixels, ${Math.round(code.module * 10) / 10} for a module`],
          ['holds', characters(code.text.length)],
        ]),
      ),
    link &&
      card(
        'Link',
        'It opens the app, which reads the message from the parameter dispatchTokenResponse.',
        facts([
          ['base URL', link.base],
          ['length', characters(link.size)],
        ]),
      ),
    push &&
      card(
        'Push message',
        push.form === 'message' ? 'What FCM gets: it reads title and body, and carries the rest.' : 'What the app hands to the SDK.',
        facts([
          ['title', push.title],
          ['body', push.body],
          ['size', `${bytes(push.size)} as FCM counts, of 4,096`],
        ]),
      ),
    envelope &&
      card(
        'Out-of-band payload',
        'The envelope that the SDK reads. It says how the message within is packed.',
        facts([
          ['content type', envelope.contentType],
          ['version', envelope.version],
          ['size', bytes(envelope.size)],
        ]),
      ),
    jwe && sealedMessage(jwe),
    key &&
      card(
        'Private key',
        key.refused ? 'No sidecar seals for this key.' : 'A sidecar seals for such keys.',
        facts([
          ['type', key.kind],
          ['thumbprint', h('code', {}, key.thumbprint)],
        ]),
      ),
    payload && content(payload),
  ].filter(Boolean);
}

function sealedMessage(jwe) {
  const bar = h(
    'div',
    { class: 'proportions', 'aria-hidden': 'true' },
    ...jwe.parts.map((part) => {
      const piece = h('i');
      piece.style.flexGrow = part.size;
      return piece;
    }),
  );
  return card(
    'JWE',
    'The sealed message: five parts with dots between them.',
    facts([
      ['size', bytes(jwe.size)],
      ['for a key of', jwe.keyType],
    ]),
    h('pre', { tabindex: '0', role: 'group', 'aria-label': 'header' }, JSON.stringify(jwe.header, null, 2)),
    bar,
    h(
      'table',
      {},
      h('caption', {}, 'The five parts'),
      h(
        'thead',
        {},
        h(
          'tr',
          {},
          h('th', { scope: 'col' }, 'part'),
          h('th', { scope: 'col' }, 'what it is for'),
          h('th', { scope: 'col', class: 'size' }, 'bytes'),
        ),
      ),
      h(
        'tbody',
        {},
        ...jwe.parts.map((part) =>
          h(
            'tr',
            {},
            h('th', { scope: 'row' }, part.name),
            h('td', {}, part.sentence, part.text && h('code', {}, part.text.slice(0, 40) + (part.text.length > 40 ? '…' : ''))),
            h('td', { class: 'size' }, number(part.size)),
          ),
        ),
      ),
    ),
  );
}

function content(payload) {
  const open = $('show-token').checked;
  return card(
    'Message',
    'What the app reads. It hands the token to the redeem URL.',
    facts(
      Object.entries(payload).map(([name, value]) => {
        const text = typeof value === 'string' ? value : JSON.stringify(value);
        return [name, open || !holdsToken(payload, name) ? text : `hidden, ${characters(text.length)}`];
      }),
    ),
  );
}

// visualCode is drawn from the token; the SVG is our own.
function visualCode(code) {
  const drawing = new DOMParser().parseFromString(code.svg, 'image/svg+xml').documentElement;
  return card(
    'Visual code',
    `What both sides show with visual_code ${exampleDigits} picture: the user compares.`,
    h('div', { class: 'compare' }, drawing),
  );
}

function useFile(chosen) {
  file = chosen;
  $('message').value = '';
  $('message').placeholder = chosen.name || 'a picture from the clipboard';
  inspect();
}

function useText(text) {
  file = null;
  $('file').value = '';
  $('message').value = text;
  $('message').placeholder = '';
  return inspect();
}

$('bench').addEventListener('submit', (e) => {
  e.preventDefault();
  inspect();
});
$('message').addEventListener('input', () => {
  file = null;
  $('file').value = '';
  inspect();
});
$('key').addEventListener('input', inspect);
$('show-token').addEventListener('change', inspect);
$('file').addEventListener('change', () => {
  if ($('file').files.length) useFile($('file').files[0]);
});
$('clear').addEventListener('click', () => {
  $('key').value = '';
  $('show-token').checked = false;
  useText('');
});
$('example').addEventListener('click', async () => {
  const { link, key } = await makeExample();
  $('key').value = key;
  $('key-details').open = true;
  useText(link);
});

document.addEventListener('paste', (e) => {
  const [pasted] = e.clipboardData.files;
  if (!pasted) return; // a text goes where the cursor is
  e.preventDefault();
  useFile(pasted);
});
for (const name of ['dragenter', 'dragover', 'dragleave', 'drop']) {
  document.addEventListener(name, (e) => {
    e.preventDefault(); // the browser would open the file
    $('bench').classList.toggle('over', name === 'dragenter' || name === 'dragover');
    if (name !== 'drop') return;
    const [dropped] = e.dataTransfer.files;
    if (dropped) useFile(dropped);
    else useText(e.dataTransfer.getData('text/plain'));
  });
}
