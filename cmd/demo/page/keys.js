// The phone's keys, and what they open. The private keys are not extractable:
// this page can use them, and nothing can read them.

const utf8 = new TextEncoder();
const text = new TextDecoder('utf-8', { fatal: true });
const subtle = globalThis.crypto?.subtle;

export const canWork = () => Boolean(subtle);

export const base64url = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes)))
  .replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');

export function bytesOf(base64) {
  return Uint8Array.from(atob(base64.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));
}

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
  const thumbprint = base64url(await subtle.digest('SHA-256', utf8.encode(JSON.stringify(members))));
  return { privateKey: pair.privateKey, thumbprint, encryptionKey: { ...members, use: 'enc', alg: algorithm[2] } };
}

// sign returns a compact JWS (RFC 7515, ES256).
export async function sign(phone, payload) {
  const head = base64url(utf8.encode(JSON.stringify({ alg: 'ES256' })));
  const input = `${head}.${base64url(utf8.encode(JSON.stringify(payload)))}`;
  const signature = await subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, phone.signing, utf8.encode(input));
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
      json = text.decode(bytesOf(value));
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
  if (envelope.nma_data_content_type === 'application/json') {
    const data = envelope.nma_data;
    return { message: typeof data === 'string' ? JSON.parse(data) : data, sealed: false };
  }
  if (envelope.nma_data_content_type !== 'application/jose') throw new Error('This is no message that the app knows.');
  const plaintext = await decrypt(phone, String(envelope.nma_data));
  return { message: JSON.parse(text.decode(plaintext)), sealed: true };
}

const notOurs = 'This message was not made for this phone: its private key does not open it.';

// decrypt opens a compact JWE (RFC 7516) with the phone's key.
async function decrypt(phone, jwe) {
  const parts = jwe.split('.');
  if (parts.length !== 5) throw new Error('The message is incomplete. Was it copied as a whole?');
  let header;
  try {
    header = JSON.parse(text.decode(bytesOf(parts[0])));
  } catch {
    throw new Error('The message is damaged: its header cannot be read.');
  }
  const { alg, enc } = phone.kind === 'P-256'
    ? { alg: 'ECDH-ES+A256KW', enc: 'A256GCM' } : { alg: 'RSA-OAEP-256', enc: 'A256CBC-HS512' };
  if (header.alg !== alg || header.enc !== enc) throw new Error(notOurs);
  try {
    const [encryptedKey, iv, ciphertext, tag] = parts.slice(1).map(bytesOf);
    const aad = utf8.encode(parts[0]);
    return phone.kind === 'P-256'
      ? await openGCM(await unwrap(phone.privateKey, header, encryptedKey), iv, ciphertext, tag, aad)
      : await openCBC(await subtle.decrypt({ name: 'RSA-OAEP' }, phone.privateKey, encryptedKey), iv, ciphertext, tag, aad);
  } catch {
    throw new Error(notOurs);
  }
}

const join = (...arrays) => new Uint8Array(arrays.flatMap((a) => [...a]));
const uint32 = (n) => new Uint8Array([n >>> 24, n >>> 16, n >>> 8, n]);

// unwrap agrees on a key (RFC 7518, section 4.6) and unwraps the content key.
async function unwrap(privateKey, header, wrapped) {
  const { kty, crv, x, y } = header.epk;
  const sender = await subtle.importKey('jwk', { kty, crv, x, y }, { name: 'ECDH', namedCurve: 'P-256' }, false, []);
  const shared = new Uint8Array(await subtle.deriveBits({ name: 'ECDH', public: sender }, privateKey, 256));
  const alg = utf8.encode(header.alg);
  const apu = bytesOf(header.apu ?? '');
  const apv = bytesOf(header.apv ?? '');
  const info = join(uint32(alg.length), alg, uint32(apu.length), apu, uint32(apv.length), apv, uint32(256));
  const derived = await subtle.digest('SHA-256', join(uint32(1), shared, info));
  const wrapping = await subtle.importKey('raw', derived, 'AES-KW', false, ['unwrapKey']);
  return subtle.unwrapKey('raw', wrapped, wrapping, 'AES-KW', 'AES-GCM', false, ['decrypt']);
}

const openGCM = (key, iv, ciphertext, tag, aad) =>
  subtle.decrypt({ name: 'AES-GCM', iv, additionalData: aad, tagLength: 128 }, key, join(ciphertext, tag));

// openCBC is AES_256_CBC_HMAC_SHA_512 (RFC 7518, section 5.2.5).
async function openCBC(key, iv, ciphertext, tag, aad) {
  const mac = await subtle.importKey('raw', key.slice(0, 32), { name: 'HMAC', hash: 'SHA-512' }, false, ['sign']);
  const signed = new Uint8Array(await subtle.sign('HMAC', mac, join(aad, iv, ciphertext, uint32(0), uint32(aad.length * 8))));
  if (tag.length !== 32 || !tag.every((b, i) => b === signed[i])) throw new Error(notOurs);
  const aes = await subtle.importKey('raw', key.slice(32, 64), 'AES-CBC', false, ['decrypt']);
  return subtle.decrypt({ name: 'AES-CBC', iv }, aes, ciphertext);
}
