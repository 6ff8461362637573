// The calls of the relying party and of the phone. They go to the sidecar, at
// the address of this page.

import { call, post } from './dom.js';
import { requestHead, sign } from './keys.js';
import { base64url, encode } from './strict.js';

const base = '/nevisfido';
const user = 'jeff';

export const operations = {
  registration: { title: 'Register a phone', op: 'Reg' },
  login: { title: 'Log in', op: 'Auth', operation: 'authentication', notification: 'Log in to Example Bank?' },
  payment: {
    title: 'Confirm a payment', op: 'Auth', operation: 'authentication', notification: 'A payment waits for you',
    data: { payment: 'CHF 1,250.00 to Example Garage' },
  },
};

// request makes the body of a dispatch.
export function request(what, dispatcher, targetId) {
  const { op, notification, data } = operations[what];
  return {
    dispatcher,
    ...(targetId && { dispatchTargetId: targetId }),
    ...((notification || data) && { dispatchInformation: { notification: { title: notification }, ...(data && { data }) } }),
    getUafRequest: { op, context: JSON.stringify({ username: user }) },
  };
}

export const pathOf = (what) => `${base}/token/dispatch/${operations[what].operation ?? what}`;

export const dispatch = (what, body, headers) => post(pathOf(what), body, headers);

export const status = (sessionId) => post(`${base}/status`, { sessionId });

const describe = (phone, pushToken, key, dispatcher) => ({
  deviceId: phone.deviceId, name: phone.name, target: pushToken, dispatcher,
  signatureKey: phone.signatureKey, ...(key && { encryptionKey: key }),
});

// taken awaits the answer to what the sidecar has to write into its store.
async function taken(answer) {
  try {
    return await answer;
  } catch (error) {
    if (error.status === 503) throw new Error('The sidecar cannot write its store, and takes no registration. Try again later.');
    throw error;
  }
}

// register makes the phone a dispatch target, with the key that arrives at
// nevisFIDO, and returns the target's id.
export async function register(phone, pushToken, key) {
  return (await taken(post(`${base}/token/dispatch/targets/`, { username: user, ...describe(phone, pushToken, key, 'push') }))).id;
}

// modify changes the dispatch target by a request that the phone signs.
export async function modify(phone, changes) {
  const body = await sign(phone, { ...requestHead(phone.targetId), ...changes });
  await taken(call('PATCH', `${base}/token/dispatch/targets/${phone.targetId}`, { headers: { 'Content-Type': 'application/jose' }, body }));
}

const uaf = (url, content) => call('POST', url, {
  headers: { 'Content-Type': 'application/fido+uaf', Accept: 'application/fido+uaf' }, body: JSON.stringify(content),
});

// redeem redeems a message's token for a UAF request. nevisFIDO's public address
// in the message is that of this page here.
export async function redeem(message) {
  const answer = await call('POST', `${base}${message.redeem_url.match(/\/token\/redeem\/\w+$/)[0]}`, {
    headers: { 'Content-Type': 'application/json', Accept: 'application/fido+uaf' },
    body: JSON.stringify({ token: message.token }),
  });
  if (answer.statusCode === 1404) throw new Error('This message was used already. Begin again on the laptop.');
  if (answer.statusCode === 1408) throw new Error('This message is too old. Begin again on the laptop.');
  if (answer.statusCode !== 1200) throw new Error(`nevisFIDO does not take this message (${answer.statusCode}).`);
  return answer;
}

// respond answers a UAF request. What a real phone signs with its FIDO
// authenticator is left out: the simulated nevisFIDO does not look.
async function respond(url, uafRequest, context) {
  const [{ header, challenge }] = JSON.parse(uafRequest);
  const answer = await uaf(url, {
    uafResponse: JSON.stringify([{ header, fcParams: base64url(encode(JSON.stringify({ challenge }))), assertions: [] }]),
    ...(context && { context: JSON.stringify(context) }),
  });
  if (answer.statusCode !== 1200) throw new Error(`nevisFIDO does not take the answer (${answer.statusCode}).`);
  return answer;
}

export const approve = (answer) => respond(`${base}/uaf/1.1/authentication/`, answer.uafRequest);

// enrol answers a registration; the phone becomes a dispatch target with it. Apps
// know the names of nevisFIDO's own dispatchers only.
export async function enrol(phone, pushToken, answer) {
  const done = await taken(respond(`${base}/uaf/1.1/registration/`, answer.uafRequest, {
    asmStatusCode: 0, dispatchTarget: describe(phone, pushToken, phone.encryptionKey, 'firebase-cloud-messaging'),
  }));
  return JSON.parse(done.description).dispatchTargetId;
}
