// Reading as the sidecar reads: base64url, and JSON in which no name comes twice.

/** A Fault is a sentence for the user. It quotes no message and no key. */
export class Fault extends Error {}

const utf8 = new TextEncoder();
const text = new TextDecoder('utf-8', { fatal: true });

export const encode = (string) => utf8.encode(string);
export const decode = (bytes) => text.decode(bytes);

/** The number of bytes of a text in UTF-8. */
export const size = (string) => utf8.encode(string).length;

/** Decodes base64 of either alphabet, with or without padding; null for anything else. */
export function bytesOf(base64) {
  const plain = base64
    .replace(/=+$/, '')
    .replace(/[\r\n]/g, '')
    .replaceAll('-', '+')
    .replaceAll('_', '/');
  if (!/^[A-Za-z0-9+/]*$/.test(plain) || plain.length % 4 === 1) return null;
  return Uint8Array.from(atob(plain), (c) => c.charCodeAt(0));
}

export function base64url(bytes) {
  let binary = '';
  for (const b of new Uint8Array(bytes)) binary += String.fromCharCode(b);
  return btoa(binary).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
}

/** Whether a text is base64url without padding, in its only spelling (RFC 7515, section 2). */
export function isBase64url(string) {
  if (!/^[A-Za-z0-9_-]*$/.test(string) || string.length % 4 === 1) return false;
  const last = string.slice(string.length - (string.length % 4));
  return base64url(bytesOf(last)) === last;
}

/** Parses a JSON object in which no object has a name twice. */
export function parseObject(json) {
  let value;
  try {
    value = JSON.parse(json);
  } catch {
    throw new Fault('invalid JSON');
  }
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw new Fault('not a JSON object');
  refuseDuplicates(json);
  return value;
}

// refuseDuplicates goes over JSON that is known to be valid: a string before a
// colon is a name.
function refuseDuplicates(json) {
  const open = []; // the names of each object around, null for a list
  for (const [token, colon] of json.matchAll(/"(?:[^"\\]|\\.)*"(\s*:)?|[{}[\]]/g)) {
    if (token === '{') open.push(new Set());
    else if (token === '[') open.push(null);
    else if (token === '}' || token === ']') open.pop();
    else if (colon) {
      const names = open.at(-1);
      const name = JSON.parse(token.slice(0, -colon.length));
      if (names.has(name)) throw new Fault('duplicate member name');
      names.add(name);
    }
  }
}

/** A member, or undefined where it is missing or null. */
export const member = (object, name) => (isObject(object) && Object.hasOwn(object, name) ? (object[name] ?? undefined) : undefined);

export const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);

/** A member that is a text, or "". */
export function textOf(object, name) {
  const value = member(object, name);
  return typeof value === 'string' ? value : '';
}
