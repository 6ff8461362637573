// The phone's keys, and what they open. The private keys are not extractable:
// this page can use them, and nothing can read them.

import { open as openJWE } from './jwe.js';
import { base64url, bytesOf, decode, encode } from './strict.js';

const subtle = globalThis.crypto?.subtle;

export const canWork = () => Boolean(subtle);

const random = () => base64url(crypto.getRandomValues(new Uint8Array(12)));

// makePhone makes a phone with an encryption key, RSA-2048 or P-256, and a
// signature key.
export async function makePhone(kind) {
  const key = await makeKey(kind);
  const signing = await subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign']);
  const { kty, crv, x, y } = await subtle.exportKey('jwk', signing.publicKey);
  return {
    kind, ...key, signing: signing.privateKey,
    signatureKey: { kty, crv, x, y, use: 'sig', alg: 'ES256' },
    deviceId: `device-${random()}`, name: `phone ${random()}`,
  };
}

export async function makeKey(kind) {
  const algorithm = kind === 'P-256'
    ? [{ name: 'ECDH', namedCurve: 'P-256' }, ['deriveBits'], 'ECDH-ES+A256KW']
    : [{ name: 'RSA-OAEP', modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: 'SHA-256' }, ['decrypt'], 'RSA-OAEP-256'];
  const pair = await subtle.generateKey(algorithm[0], false, algorithm[1]);
  const { kty, n, e, crv, x, y } = await subtle.exportKey('jwk', pair.publicKey);
  const members = kty === 'EC' ? { crv, kty, x, y } : { e, kty, n }; // in the order of RFC 7638
  const thumbprint = base64url(await subtle.digest('SHA-256', encode(JSON.stringify(members))));
  return { privateKey: pair.privateKey, thumbprint, encryptionKey: { ...members, use: 'enc', alg: algorithm[2] } };
}

// sign returns a compact JWS (RFC 7515, ES256).
export async function sign(phone, payload) {
  const head = base64url(encode(JSON.stringify({ alg: 'ES256' })));
  const input = `${head}.${base64url(encode(JSON.stringify(payload)))}`;
  const signature = await subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, phone.signing, encode(input));
  return `${input}.${base64url(signature)}`;
}

export const requestHead = (targetId) => ({
  requestId: random(), creationTimeInEpochMillis: Date.now(), dispatchTargetId: targetId,
});

// envelopeOf takes a link, an out-of-band payload in base64url, or its JSON
// apart, as the app does.
export function envelopeOf(artefact) {
  let json = artefact.trim();
  if (!json.startsWith('{')) {
    let value = json;
    if (json.includes(':')) {
      value = json.match(/[?&]dispatchTokenResponse=([^&#]*)/)?.[1];
      if (!value) throw new Error('This link does not come from the bank: it holds no message.');
    }
    try {
      json = decode(bytesOf(value));
    } catch {
      throw new Error('This is no message for the app. Was it copied as a whole?');
    }
  }
  let envelope;
  try {
    envelope = JSON.parse(json);
  } catch {
    throw new Error('This is no message for the app. Was it copied as a whole?');
  }
  if (!envelope?.nma_data || envelope.nma_data_version !== '1') throw new Error('This is no message that the app knows.');
  return envelope;
}

// open returns the message in an envelope.
export async function open(phone, envelope) {
  const sealed = envelope.nma_data_content_type === 'application/jose';
  if (!sealed && envelope.nma_data_content_type !== 'application/json') throw new Error('This is no message that the app knows.');
  let message = envelope.nma_data;
  if (sealed) {
    try {
      message = decode((await openJWE(String(message), phone.privateKey)).plaintext);
    } catch (fault) {
      throw new Error(`The phone cannot open this message: ${fault.message}.`);
    }
  }
  try {
    if (typeof message === 'string') message = JSON.parse(message);
  } catch { /* which has no token */ }
  if (typeof message?.token !== 'string' || !/\/token\/redeem\/\w+$/.test(message.redeem_url)) {
    throw new Error('This message holds nothing that the phone could redeem.');
  }
  return { message, sealed };
}
