// The private key of a device, given as JWK: for looking at messages. It is
// vetted as the sidecar vets the public half (package encrypt).

import { Fault, base64url, bytesOf, encode, member, parseObject, textOf } from './strict.js';

const rsaMembers = ['kty', 'n', 'e', 'd', 'p', 'q', 'dp', 'dq', 'qi'];
const ecMembers = ['kty', 'crv', 'x', 'y', 'd'];
const curves = ['P-256', 'P-384', 'P-521'];
const ecAlgs = ['ECDH-ES+A256KW', 'ECDH-ES', 'ECDH-ES+A128KW'];

/**
 * Reads a private JWK: {kind, thumbprint, refused, privateKey(alg)}. refused says
 * why no sidecar seals for it, or is "". The key itself stays in WebCrypto.
 */
export async function readDeviceKey(text) {
  let jwk;
  try {
    jwk = parseObject(text.trim());
  } catch {
    jwk = {};
  }
  const kty = textOf(jwk, 'kty');
  if (kty === '') throw new Fault('it is not a JWK: give one private key as a JSON object, an RSA key with "p" and "q"');
  if (!['RSA', 'EC'].includes(kty) || textOf(jwk, 'd') === '') {
    throw new Fault('it is not the private key of a device: a private RSA or EC key is needed');
  }
  if (kty === 'RSA' && !rsaMembers.every((name) => textOf(jwk, name))) {
    throw new Fault('the RSA key lacks "p", "q", "dp", "dq" or "qi": browsers need all of them');
  }
  const kind = kty === 'EC' ? textOf(jwk, 'crv') : `RSA-${8 * octets(jwk, 'n').length}`;
  const key = {
    kind,
    thumbprint: await thumbprint(jwk),
    refused: refusal(jwk, kty),
    privateKey: (alg) => load(jwk, kty, alg),
  };
  try {
    await key.privateKey('RSA-OAEP-256');
  } catch {
    throw new Fault('its numbers do not make a key');
  }
  return key;
}

// load imports the key for an algorithm: WebCrypto binds RSA keys to a hash.
function load(jwk, kty, alg) {
  const only = (names) => Object.fromEntries(names.map((name) => [name, jwk[name]]));
  if (kty === 'EC') {
    return crypto.subtle.importKey('jwk', only(ecMembers), { name: 'ECDH', namedCurve: jwk.crv }, false, ['deriveBits']);
  }
  const hash = alg === 'RSA-OAEP' ? 'SHA-1' : 'SHA-256';
  return crypto.subtle.importKey('jwk', only(rsaMembers), { name: 'RSA-OAEP', hash }, false, ['decrypt']);
}

// octets are the bytes of a number without zeros before it.
function octets(jwk, name) {
  const bytes = bytesOf(textOf(jwk, name)) ?? new Uint8Array();
  const first = bytes.findIndex((b) => b !== 0);
  return first < 0 ? new Uint8Array() : bytes.slice(first);
}

/** The thumbprint of the public half (RFC 7638). */
export async function thumbprint(jwk) {
  let members;
  if (jwk.kty === 'RSA') {
    members = { e: base64url(octets(jwk, 'e')), kty: 'RSA', n: base64url(octets(jwk, 'n')) };
  } else {
    members = { crv: jwk.crv, kty: 'EC', x: jwk.x, y: jwk.y };
  }
  return base64url(await crypto.subtle.digest('SHA-256', encode(JSON.stringify(members))));
}

// refusal says which rule the key breaks, in the words of the sidecar; "" for
// none. WebCrypto sees whether a point is on its curve.
function refusal(jwk, kty) {
  const has = (name) => member(jwk, name) !== undefined;
  const refused = (reason, detail) => `key refused (${reason}): ${detail}`;
  const shown = (name) => (/^[A-Za-z0-9_+-]{1,24}$/.test(name) ? `"${name}"` : 'unreadable');
  if (kty === 'EC' && !curves.includes(textOf(jwk, 'crv'))) {
    return refused('curve', `curve "crv" ${shown(textOf(jwk, 'crv'))} is not P-256, P-384 or P-521`);
  }
  if (has('use') && textOf(jwk, 'use') !== 'enc') return refused('wrong_use', `use is ${shown(textOf(jwk, 'use'))}, not "enc"`);
  const algs = kty === 'EC' ? ecAlgs : ['RSA-OAEP-256'];
  if (has('alg') && !algs.includes(textOf(jwk, 'alg'))) {
    return refused('wrong_algorithm', `alg is ${shown(textOf(jwk, 'alg'))}, not ${algs.join(' or ')}`);
  }
  if (kty === 'EC') return '';
  const n = numberOf(octets(jwk, 'n'));
  const bits = n.toString(2).length;
  if (![2048, 3072, 4096].includes(bits)) return refused('rsa_size', `the RSA modulus "n" has ${bits} bits, not 2048, 3072 or 4096`);
  if (numberOf(octets(jwk, 'e')) !== 65537n) return refused('rsa_exponent', 'the RSA exponent "e" is not 65537');
  const weakness = modulusWeakness(n);
  return weakness && refused('rsa_weak_modulus', `member "n": ${weakness}`);
}

const numberOf = (bytes) => bytes.reduce((n, b) => (n << 8n) | BigInt(b), 0n);

const primes = Array.from({ length: 750 }, (_, i) => i + 2).filter((n) => {
  for (let d = 2; d * d <= n; d++) if (n % d === 0) return false;
  return true;
});

// modulusWeakness says why an RSA modulus is known to be factorable, or "".
function modulusWeakness(n) {
  if (primes.some((p) => n % BigInt(p) === 0n)) return 'the modulus has a factor below 752';
  if (primes.filter((p) => p > 2 && p <= 167).every((p) => isPower(Number(n % BigInt(p)), p))) {
    return 'the modulus bears the ROCA fingerprint (CVE-2017-15361)';
  }
  const root = squareRoot(n);
  for (let a = root; a <= root + 110n; a++) {
    // Fermat: n = a² - b²
    const rest = a * a - n;
    if (rest >= 0n && squareRoot(rest) ** 2n === rest) return 'the factors of the modulus are too close to each other';
  }
  return '';
}

// isPower tells whether a number is a power of 65537 modulo p.
function isPower(rest, p) {
  let power = 1;
  do {
    if (power === rest) return true;
    power = (power * 65537) % p;
  } while (power !== 1);
  return false;
}

function squareRoot(n) {
  if (n < 2n) return n;
  let x = 1n << BigInt((n.toString(2).length + 1) >> 1);
  for (;;) {
    const next = (x + n / x) >> 1n;
    if (next >= x) return x;
    x = next;
  }
}
