// Compact JWE (RFC 7516): taken apart, and opened with WebCrypto.

import { Fault, base64url, bytesOf, decode, encode, isBase64url, isObject, parseObject, textOf } from './strict.js';

const sealedAlgs = ['RSA-OAEP-256', 'ECDH-ES+A256KW', 'ECDH-ES', 'ECDH-ES+A128KW'];
const sealedEncs = ['A256CBC-HS512', 'A256GCM'];

// The names of the five parts, and what each is for.
const parts = [
  ['header', 'Says how the message is sealed. Everybody can read it, and nobody can change it without breaking the seal.'],
  [
    'encrypted key',
    'The key of this one message, encrypted for the phone. Only the private key, which never leaves the phone, gives it back.',
  ],
  ['initialization vector', 'Drawn anew for each message, so that the same message never looks the same twice. It is no secret.'],
  ['ciphertext', 'The message itself. Without the key it says nothing but its length.'],
  ['authentication tag', 'A checksum over the header and the ciphertext that takes the key to make: a change on the way is noticed.'],
];
const noKey = 'Empty, as it should be: with ECDH-ES alone, the phone computes the key from its private key and epk of the header.';

const maxCompact = 1 << 20; // characters, as in the sidecar
const maxHeader = 8 << 10;

/**
 * Takes a compact JWE apart, which has four dots:
 * {header, alg, enc, keyType, size, ciphertextSize, parts: [{name, text, size, sentence}], problems}.
 * What is malformed is a problem, not an exception.
 */
export function takeApart(compact) {
  const texts = compact.split('.');
  if (texts.length !== 5) throw new Fault(`a JWE has five parts, and this has ${texts.length}: it was not copied as a whole`);
  const problems = [];
  let header = {};
  try {
    const bytes = bytesOf(texts[0]);
    header = parseObject(bytes ? decode(bytes) : '');
  } catch (e) {
    problems.push(`the header of the JWE is no JSON object: ${e instanceof Fault ? e.message : 'invalid JSON'}`);
  }
  const alg = textOf(header, 'alg');
  const enc = textOf(header, 'enc');
  const sealed =
    compact.length <= maxCompact &&
    texts[0].length <= maxHeader &&
    texts.every(isBase64url) &&
    texts[2] !== '' &&
    texts[4] !== '' &&
    sealedAlgs.includes(alg) &&
    sealedEncs.includes(enc);
  if (!sealed) {
    problems.push(
      'the JWE is not one that nevisFIDO documents or that the sidecar makes: ' +
        'five parts in base64url, RSA-OAEP-256 with A256CBC-HS512, or ECDH-ES, ECDH-ES+A128KW or ECDH-ES+A256KW with A256GCM',
    );
  }
  for (const name of Object.keys(header)) {
    if (!['alg', 'enc', 'epk'].includes(name)) {
      problems.push(`the header of the JWE has a member ${name}: nevisFIDO documents alg and enc alone`);
    }
  }
  return {
    header,
    alg,
    enc,
    problems,
    keyType: keyType(header, texts[1]),
    size: compact.length,
    ciphertextSize: decodedLength(texts[3]),
    parts: texts.map((text, i) => ({
      name: parts[i][0],
      text,
      size: decodedLength(text),
      sentence: i === 1 && text === '' && alg === 'ECDH-ES' ? noKey : parts[i][1],
    })),
  };
}

const decodedLength = (base64) => Math.floor((base64.length * 3) / 4);

// keyType names the type of key that a JWE is for; "" where it does not tell.
function keyType(header, encryptedKey) {
  if (textOf(header, 'alg').startsWith('RSA')) return `RSA-${8 * decodedLength(encryptedKey)}`;
  return textOf(header.epk, 'crv');
}

const typeOf = ({ algorithm: a }) => (a.name === 'ECDH' ? a.namedCurve : `RSA-${a.modulusLength}`);

const contentKeys = { 'A128CBC-HS256': 32, 'A192CBC-HS384': 48, 'A256CBC-HS512': 64, A128GCM: 16, A192GCM: 24, A256GCM: 32 }; // bytes
const wrappingKeys = { 'ECDH-ES+A128KW': 16, 'ECDH-ES+A192KW': 24, 'ECDH-ES+A256KW': 32 };

/**
 * Opens a compact JWE: what takeApart gives, and plaintext, which are bytes. The
 * key is a CryptoKey (RSA-OAEP for "decrypt", ECDH for "deriveBits"), or a
 * DeviceKey of devicekey.js. A Fault says why it does not open.
 */
export async function open(compact, key) {
  const jwe = takeApart(compact);
  const { header, alg, enc } = jwe;
  const kind = key.kind ?? typeOf(key);
  if (jwe.keyType && jwe.keyType !== kind) {
    throw new Fault(`it is for a key of type ${jwe.keyType}, the private key is one of ${kind}`);
  }
  const rsa = alg === 'RSA-OAEP-256' || alg === 'RSA-OAEP';
  if (!contentKeys[enc] || !(rsa || alg === 'ECDH-ES' || wrappingKeys[alg])) {
    throw new Fault('it cannot be decrypted because of its alg or enc');
  }
  const texts = jwe.parts.map((part) => part.text);
  if (!texts.every(isBase64url) || (!rsa && !isObject(header.epk))) {
    throw new Fault('it is not a JWE that can be decrypted: its header or one of its parts is malformed');
  }
  const [, encryptedKey, iv, ciphertext, tag] = texts.map(bytesOf);
  let plaintext;
  try {
    const privateKey = key.privateKey ? await key.privateKey(alg) : key;
    const contentKey = rsa
      ? new Uint8Array(await crypto.subtle.decrypt({ name: 'RSA-OAEP' }, privateKey, encryptedKey))
      : await agree(privateKey, header, encryptedKey);
    if (contentKey.length !== contentKeys[enc]) throw new Error('the content key has another length');
    const decrypt = enc.endsWith('GCM') ? openGCM : openCBC;
    plaintext = await decrypt(contentKey, iv, ciphertext, tag, encode(texts[0]));
  } catch (e) {
    if (e.name === 'NotSupportedError') throw new Fault(`this browser cannot decrypt ${alg} with ${enc}`);
    throw new Fault('the private key does not open it: it was made for another key, or changed on the way');
  }
  if (header.zip === 'DEF') plaintext = await inflate(plaintext);
  return { ...jwe, plaintext: new Uint8Array(plaintext) };
}

const join = (...arrays) => {
  const out = new Uint8Array(arrays.reduce((n, a) => n + a.length, 0));
  let at = 0;
  for (const a of arrays) {
    out.set(a, at);
    at += a.length;
  }
  return out;
};

const uint32 = (n) => new Uint8Array([n >>> 24, n >>> 16, n >>> 8, n]);

// agree computes the key that sender and phone share (RFC 7518, section 4.6),
// and unwraps the content key with it where alg says so.
async function agree(privateKey, header, wrapped) {
  const { kty, crv, x, y } = header.epk;
  const sender = await crypto.subtle.importKey('jwk', { kty, crv, x, y }, { name: 'ECDH', namedCurve: crv }, false, []);
  const bits = { 'P-256': 256, 'P-384': 384, 'P-521': 528 }[crv];
  const shared = new Uint8Array(await crypto.subtle.deriveBits({ name: 'ECDH', public: sender }, privateKey, bits));
  const direct = header.alg === 'ECDH-ES';
  const length = direct ? contentKeys[header.enc] : wrappingKeys[header.alg];
  const field = (bytes) => join(uint32(bytes.length), bytes);
  const info = join(
    field(encode(direct ? header.enc : header.alg)),
    field(bytesOf(textOf(header, 'apu'))),
    field(bytesOf(textOf(header, 'apv'))),
    uint32(8 * length),
  );
  let derived = new Uint8Array();
  for (let round = 1; derived.length < length; round++) {
    derived = join(derived, new Uint8Array(await crypto.subtle.digest('SHA-256', join(uint32(round), shared, info))));
  }
  derived = derived.slice(0, length);
  if (direct) return derived;
  const wrapping = await crypto.subtle.importKey('raw', derived, 'AES-KW', false, ['unwrapKey']);
  // As a key for HMAC, which may have any length.
  const key = await crypto.subtle.unwrapKey('raw', wrapped, wrapping, 'AES-KW', { name: 'HMAC', hash: 'SHA-256' }, true, ['sign']);
  return new Uint8Array(await crypto.subtle.exportKey('raw', key));
}

async function openGCM(key, iv, ciphertext, tag, aad) {
  const aes = await crypto.subtle.importKey('raw', key, 'AES-GCM', false, ['decrypt']);
  if (tag.length !== 16) throw new Error('the tag has another length');
  return crypto.subtle.decrypt({ name: 'AES-GCM', iv, additionalData: aad, tagLength: 128 }, aes, join(ciphertext, tag));
}

// openCBC is AES-CBC with HMAC (RFC 7518, section 5.2): the first half of the
// key authenticates, the second decrypts.
async function openCBC(key, iv, ciphertext, tag, aad) {
  const half = key.length / 2;
  const hash = { 16: 'SHA-256', 24: 'SHA-384', 32: 'SHA-512' }[half];
  const mac = await crypto.subtle.importKey('raw', key.slice(0, half), { name: 'HMAC', hash }, false, ['sign']);
  const signed = new Uint8Array(await crypto.subtle.sign('HMAC', mac, join(aad, iv, ciphertext, uint32(0), uint32(8 * aad.length))));
  if (base64url(signed.slice(0, half)) !== base64url(tag)) throw new Error('the tag does not match');
  const aes = await crypto.subtle.importKey('raw', key.slice(half), 'AES-CBC', false, ['decrypt']);
  return crypto.subtle.decrypt({ name: 'AES-CBC', iv }, aes, ciphertext);
}

const maxInflated = 512 << 10; // bytes: a small message may inflate to a very large one

async function inflate(bytes) {
  const chunks = [];
  let length = 0;
  try {
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate-raw'));
    for (const reader = stream.getReader(); ;) {
      const { done, value } = await reader.read();
      if (done) return join(...chunks);
      chunks.push(value);
      length += value.length;
      if (length > maxInflated) {
        reader.cancel();
        throw new Error('too long');
      }
    }
  } catch {
    throw new Fault('it is compressed, and what it holds cannot be read or is too long');
  }
}
