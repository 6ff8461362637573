// Makes a message as the sidecar makes it, for a phone that is made as well.

import { base64url, encode } from './strict.js';

const random = (n) => crypto.getRandomValues(new Uint8Array(n));

/** A sealed link, and the private JWK of the phone that it is for. */
export async function makeExample() {
  const pair = await crypto.subtle.generateKey(
    { name: 'RSA-OAEP', modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: 'SHA-256' },
    true,
    ['encrypt', 'decrypt'],
  );
  const { kty, n, e, d, p, q, dp, dq, qi } = await crypto.subtle.exportKey('jwk', pair.privateKey);
  const message = {
    token: crypto.randomUUID(),
    redeem_url: 'https://fido.example.com/nevisfido/token/redeem/authentication',
    channel: 'example',
  };
  const envelope = {
    nma_data: await seal(JSON.stringify(message), pair.publicKey),
    nma_data_content_type: 'application/jose',
    nma_data_version: '1',
  };
  return {
    link: `https://app.example.com/open?dispatchTokenResponse=${base64url(encode(JSON.stringify(envelope)))}`,
    key: JSON.stringify({ kty, use: 'enc', alg: 'RSA-OAEP-256', n, e, d, p, q, dp, dq, qi }, null, 1),
  };
}

// seal is RSA-OAEP-256 with A256CBC-HS512 (RFC 7518, sections 4.3 and 5.2.5).
async function seal(text, publicKey) {
  const header = base64url(encode(JSON.stringify({ alg: 'RSA-OAEP-256', enc: 'A256CBC-HS512' })));
  const key = random(64);
  const iv = random(16);
  const aes = await crypto.subtle.importKey('raw', key.slice(32), 'AES-CBC', false, ['encrypt']);
  const ciphertext = new Uint8Array(await crypto.subtle.encrypt({ name: 'AES-CBC', iv }, aes, encode(text)));
  const mac = await crypto.subtle.importKey('raw', key.slice(0, 32), { name: 'HMAC', hash: 'SHA-512' }, false, ['sign']);
  const aad = encode(header);
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(8 * aad.length));
  const signed = await crypto.subtle.sign('HMAC', mac, new Uint8Array([...aad, ...iv, ...ciphertext, ...length]));
  const encryptedKey = await crypto.subtle.encrypt({ name: 'RSA-OAEP' }, publicKey, key);
  return [header, ...[encryptedKey, iv, ciphertext, signed.slice(0, 32)].map(base64url)].join('.');
}
