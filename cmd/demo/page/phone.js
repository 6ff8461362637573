// The right column: the phone.

import { codePicture, h, number, show, $ } from './dom.js';
import { envelopeOf, open } from './keys.js';
import * as nevisfido from './nevisfido.js';
import { step } from './steps.js';
import { picture } from './visualcode.js';

const digits = 4;

// showOwner tells whose phone it is.
export function showOwner(phone) {
  show('owner', 'Jeff’s phone, key ', h('code', {}, `${phone.thumbprint.slice(0, 12)}…`), phone.targetId ? '' : ' (not registered)');
}

export function clearPhone() {
  show('incoming', h('p', { class: 'empty' }, 'Messages arrive here.'));
  show('opened');
}

// arrived shows something that the phone got, and opens it when the user wants.
export function arrived(id, title, text, button, take) {
  if ($(id)) return;
  const failed = h('p', { class: 'failure', role: 'alert' });
  $('incoming').querySelector('.empty')?.remove();
  $('incoming').append(h('article', { class: 'notification', id }, h('h3', {}, title), h('p', {}, text),
    h('button', {
      type: 'button', class: 'primary',
      click: async (e) => {
        e.target.disabled = true;
        failed.replaceChildren();
        try {
          await take();
        } catch (error) {
          failed.replaceChildren(error.message);
        }
        e.target.disabled = false;
      },
    }, button), failed));
}

// openArtefact decrypts a message and shows it. context has the phone, its push
// token, the answer on the laptop if it is known, and what to do when the phone
// has become another dispatch target.
export async function openArtefact(artefact, via, context) {
  const { phone } = context;
  show('opened');
  step(8, 'done', `${number(artefact.length)} characters by ${via}.`, 'Phone');
  const began = performance.now();
  let opened;
  try {
    opened = await open(phone, envelopeOf(artefact));
  } catch (error) {
    step(9, 'failed', error.message, 'Phone');
    step(10, 'failed', 'The message stays shut.', 'Phone');
    show('opened', h('p', { class: 'failure', role: 'alert', id: 'phone-failure' }, error.message, ' ',
      h('span', { class: 'hint' }, 'Tell the bank if you wanted to log in.')));
    return;
  }
  const took = Math.round(performance.now() - began);
  step(9, opened.sealed ? 'done' : 'skipped', opened.sealed ? h('code', {}, phone.thumbprint) : 'The message is in clear: it needs none.', 'Phone');
  await showMessage(opened, took, context);
}

async function showMessage({ message, sealed }, took, context) {
  const { digits: code, svg } = await picture(message.token, digits);
  const known = context.answer?.token === message.token;
  if (known && context.answer.visualCode) {
    const same = context.answer.visualCode === code && context.answer.visualCodePicture === svg;
    step(7, same ? 'done' : 'failed', `Laptop ${context.answer.visualCode}, phone ${code}, and ${same ? 'the same picture' : 'another picture'}.`, 'Answer and phone');
  }
  const result = h('p', { id: 'redeemed', role: 'status' });
  const registering = message.redeem_url.endsWith('/registration');
  const buttons = h('div', { class: 'row' });
  const act = (title, attributes, doing) => h('button', {
    type: 'button', ...attributes,
    click: async () => {
      buttons.remove();
      try {
        await doing();
      } catch (error) {
        step(10, 'failed', error.message, 'Phone');
        result.classList.add('failure');
        result.replaceChildren(error.message);
      }
    },
  }, title);
  buttons.append(
    act(registering ? 'Register this phone' : 'Confirm', { class: 'primary', id: 'confirm' }, () => confirm(message, registering, took, context, result)),
    act('Reject', { id: 'reject' }, async () => {
      step(10, 'skipped', 'The user rejected; the token was not redeemed.', 'Phone');
      result.replaceChildren('You have rejected it. Nothing was sent, and the request ends by itself.');
    }));
  show('opened', h('div', { class: 'message' },
    h('h3', {}, registering ? 'Register this phone?' : message.payment ? 'Confirm the payment?' : 'Log in?'),
    message.payment && h('p', { class: 'payment' }, message.payment),
    h('div', { class: 'code' }, h('p', {}, 'The laptop has to show'), h('output', { id: 'phone-code' }, code),
      codePicture('phone-picture', svg)),
    h('p', { class: 'hint' }, sealed ? `Decrypted here in ${took} ms.` : 'This message came in clear.'),
    buttons, result));
}

async function confirm(message, registering, took, context, result) {
  const answer = await nevisfido.redeem(message);
  if (registering) {
    await context.registered(answer);
    result.replaceChildren('This phone is registered now.');
  } else {
    await nevisfido.approve(answer);
    result.replaceChildren('Confirmed. Go on at the laptop.');
  }
  step(10, 'done', `Decrypted in ${took} ms, redeemed for a UAF ${answer.op} request, answered.`, 'Phone');
}
