// Takes a message apart, layer by layer, with the checks of `caddy oob open` and
// in its words.

import { open, takeApart } from './jwe.js';
import { Fault, bytesOf, decode, isObject, member, parseObject, size, textOf } from './strict.js';

const parameter = 'dispatchTokenResponse';
const plain = 'application/json';
const sealed = 'application/jose';
const maxPush = 4096; // bytes of a push message that FCM takes
const maxInput = 16 << 20; // characters

const noMessage =
  'there is no message in it: give a link with dispatchTokenResponse, a PNG or JPEG picture of a QR code, ' +
  'a push message, an out-of-band payload, a JWE, or the answer of a dispatch call';

/**
 * Takes a message apart: a text, or a file (a Blob) with text or a picture. key
 * is what readDeviceKey of devicekey.js gives, or nothing; readPicture reads the
 * QR code in a Blob, as qr.js does. The result has those of these members that
 * there are:
 *
 *   answer   {dispatcher, result} of a dispatch call
 *   picture  what readPicture says of it
 *   link     {base, size}
 *   push     {form, title, body, size}
 *   envelope {contentType, version, size}
 *   jwe      as takeApart of jwe.js has it
 *   payload  the object that the app reads
 *   problems what an app may stumble over, as sentences
 *
 * A Fault says why it goes no further; its member seen is what was seen so far.
 */
export async function examine(input, { key, readPicture } = {}) {
  const message = new Message(key, readPicture);
  if (key?.refused) message.problem(`no sidecar seals for this key: ${key.refused}`);
  try {
    await (typeof input === 'string' ? message.take(input) : message.takeFile(input));
  } catch (e) {
    e.seen = message.seen;
    throw e;
  }
  return message.seen;
}

/** Whether a member of the payload must not be shown. */
export function holdsToken(payload, name) {
  const token = textOf(payload, 'token');
  return name.toLowerCase() === 'token' || (token !== '' && JSON.stringify(payload[name]).includes(token));
}

// isPicture tells PNG, JPEG, GIF, WebP and BMP by their first bytes.
function isPicture(bytes) {
  const start = String.fromCharCode(...bytes.slice(0, 12));
  return /^(\x89PNG\r\n|\xff\xd8\xff|GIF8|RIFF....WEBP|BM)/s.test(start);
}

class Message {
  constructor(key, readPicture) {
    this.key = key;
    this.readPicture = readPicture;
    this.seen = { problems: [] };
  }

  problem(sentence) {
    this.seen.problems.push(sentence);
  }

  async take(input) {
    if (input.length > maxInput) throw new Fault('the input is longer than 16 MiB');
    const text = input.replace(/^\ufeff/, '').trim();
    if (text.startsWith('{')) return this.takeObject(text);
    if (text.includes(`${parameter}=`)) return this.takeLink(text);
    if (text.split('.').length === 5) return this.takeJWE(text);
    if (/^[A-Za-z][A-Za-z0-9+.-]*:\/\/\S+$/.test(text)) {
      throw new Fault('the link holds no message: if it is a short link, the page that it opens has the long one');
    }
    if (/^eyJ[\w-]*(\.[\w-]*)+$/.test(text)) takeApart(text); // which says that it is half a JWE
    const bytes = bytesOf(text.replace(/^[^,]*;base64,/, ''));
    if (bytes && isPicture(bytes) && !this.seen.picture) return this.takePicture(new Blob([bytes]));
    let envelope;
    try {
      envelope = decodeEnvelope(text);
    } catch {
      throw new Fault(noMessage);
    }
    this.checkEncoded(text);
    return this.takeEnvelope(envelope);
  }

  async takeFile(file) {
    if (file.size > maxInput) throw new Fault('the file is longer than 16 MiB');
    const bytes = new Uint8Array(await file.arrayBuffer());
    if (isPicture(bytes)) return this.takePicture(file);
    let text;
    try {
      text = decode(bytes);
    } catch {
      return this.takePicture(file); // of another format, if it is one
    }
    return this.take(text);
  }

  async takePicture(blob) {
    this.seen.picture = await this.readPicture(blob);
    return this.take(this.seen.picture.text);
  }

  takeLink(link) {
    let base, value, envelope;
    try {
      ({ base, value } = parseLink(link));
      envelope = decodeEnvelope(unescaped(value));
    } catch (e) {
      throw new Fault(`the parameter ${parameter} of the link cannot be read: ${e.message}`);
    }
    this.seen.link = { base, size: link.length };
    this.checkLink(base);
    this.checkEncoded(value);
    return this.takeEnvelope(envelope);
  }

  // takeObject is for JSON: an envelope in whatever it is wrapped in, the inner
  // object alone, or the answer of a dispatch call.
  takeObject(text) {
    const object = within('reading the JSON', () => parseObject(text));
    const message = isObject(object.message) ? object.message : object;
    const inMessage = isObject(message.data);
    const data = inMessage ? message.data : message;
    const answer = object.dispatcherInformation;
    if (Object.hasOwn(data, 'nma_data')) {
      const plainText = typeof data.nma_data === 'string' && data.nma_data_content_type === plain;
      if (inMessage || plainText || Object.hasOwn(data, 'aps')) this.takePush(message, data, inMessage);
      return this.takeEnvelope(within('reading the out-of-band payload', () => envelopeOf(data)));
    }
    if (isObject(answer) && typeof answer.response === 'string') {
      this.seen.answer = { dispatcher: textOf(answer, 'name'), result: textOf(object, 'dispatchResult') };
      return this.take(answer.response);
    }
    if (answer !== undefined)
      throw new Fault('the answer of the dispatch call holds no message: dispatcherInformation.response is no text');
    if (Object.hasOwn(object, 'token')) return this.takeContent(text);
    throw new Fault(noMessage);
  }

  // takePush looks at what is around the payload in a push message.
  takePush(message, data, inMessage) {
    const title = inMessage ? textOf(message.notification, 'title') : '';
    const body = inMessage ? textOf(message.notification, 'body') : '';
    const members = Object.entries(data).map(
      ([name, value]) => size(name) + size(typeof value === 'string' ? value : JSON.stringify(value)),
    );
    const total = members.reduce((a, b) => a + b, size(title) + size(body));
    this.seen.push = { form: inMessage ? 'message' : 'data', title, body, size: total };
    for (const name of ['nma_data', 'nma_data_content_type', 'nma_data_version']) {
      if (typeof data[name] !== 'string') this.problem(`the member ${name} of the push message is no string: FCM takes only strings`);
    }
    if (!inMessage) return; // it has arrived
    if (!title && !body) {
      this.problem('the push message has neither title nor body: an iOS app gets it when the user taps the notification');
    }
    if (total > maxPush) this.problem(`the push message has ${total} bytes, FCM takes ${maxPush}`);
  }

  takeEnvelope(envelope) {
    const { data, contentType, version } = envelope;
    this.seen.envelope = {
      contentType,
      version,
      size: size(JSON.stringify({ nma_data: data, nma_data_content_type: contentType, nma_data_version: version })),
    };
    this.checkEnvelope(envelope);
    if (typeof data !== 'string') return this.takeContent(JSON.stringify(data));
    if (data.split('.').length === 5 && !data.trim().startsWith('{')) return this.takeJWE(data);
    return this.takeContent(data);
  }

  async takeJWE(compact) {
    const jwe = takeApart(compact);
    this.seen.jwe = jwe;
    jwe.problems.forEach((sentence) => this.problem(sentence));
    if (!this.key) return;
    let plaintext;
    try {
      ({ plaintext } = await open(compact, this.key));
    } catch (e) {
      if (!(e instanceof Fault)) throw e;
      this.problem(`the JWE: ${e.message}`);
      return;
    }
    let text;
    try {
      text = decode(plaintext);
    } catch {
      this.problem('the payload cannot be read: invalid JSON');
      return;
    }
    this.takeContent(text);
  }

  // takeContent reads the inner object.
  takeContent(text) {
    let object;
    try {
      object = parseObject(text);
    } catch (e) {
      this.problem(`the payload cannot be read: ${e.message}`);
      return;
    }
    const content = { token: '', redeem_url: '' }; // as far as they can be read
    for (const name of Object.keys(object).filter((n) => n in content)) {
      if (typeof object[name] !== 'string') {
        this.problem(`the payload cannot be read: member "${name}" is not a string`);
        break;
      }
      content[name] = object[name];
    }
    this.seen.payload = object;
    this.checkContent(object, content);
  }

  checkLink(base) {
    const fault = invalidBaseURL(base);
    if (fault) this.problem(`the link opens no app: ${fault}`);
    else if (/^http:/i.test(base)) this.problem("the link is http: phones open apps for https links and for the app's own scheme");
  }

  // checkEncoded: some apps neither decode percent-encoding nor know the standard
  // alphabet, and one splits the link at each "=".
  checkEncoded(value) {
    if (!/^[A-Za-z0-9_-]+$/.test(value)) {
      this.problem('the message is not base64url without padding: some apps read it as it stands, without percent-decoding');
    }
  }

  checkEnvelope({ data, contentType, version }) {
    const looksSealed = typeof data === 'string' && !data.trim().startsWith('{');
    if (contentType !== plain && contentType !== sealed) {
      this.problem(`nma_data_content_type is neither ${plain} nor ${sealed}`);
    } else if (looksSealed && contentType === plain) {
      this.problem(`nma_data is text that is no JSON, but its content type says ${contentType}`);
    } else if (!looksSealed && contentType === sealed) {
      this.problem(`nma_data is not encrypted, but its content type says ${contentType}`);
    } else if (!looksSealed && this.seen.push) {
      this.problem('the push message is not encrypted: everybody on the way can read it');
    }
    if (version !== '1') this.problem('nma_data_version is not "1", the only one that is known');
  }

  checkContent(object, content) {
    if (content.token === '') this.problem('the payload has no token');
    for (const other of Object.keys(object)) {
      const name = ['token', 'redeem_url'].find((n) => other !== n && other.toLowerCase() === n);
      if (name) {
        this.problem(`the payload: a member is spelled in another letter case than "${name}"`);
        break;
      }
    }
    const url = content.redeem_url;
    if (url === '') this.problem('the payload has no redeem_url');
    else if (!/^[a-z][a-z0-9+.-]*:\/\/[^/?#\s]+/i.test(url)) this.problem('redeem_url is not the URL of a server');
    else if (!/^https:/i.test(url)) this.problem('redeem_url is not https: phones refuse such connections');
  }
}

function within(doing, read) {
  try {
    return read();
  } catch (e) {
    throw new Fault(`${doing}: ${e.message}`);
  }
}

// parseLink parts a link from the value of its parameter.
function parseLink(link) {
  const start = link.search(new RegExp(`[?&#]${parameter}=`));
  if (start < 0 || !link.slice(0, start).includes(':')) throw new Fault(`not a link with a ${parameter} parameter`);
  const [, value, rest] = link.slice(start + 1 + parameter.length + 1).match(/^([^&#]*)(.*)$/s);
  return { base: link.slice(0, start) + (rest.startsWith('&') ? link[start] + rest.slice(1) : rest), value };
}

function unescaped(value) {
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}

function decodeEnvelope(encoded) {
  const bytes = bytesOf(encoded);
  if (!bytes) throw new Fault('not base64url');
  let text;
  try {
    text = decode(bytes);
  } catch {
    throw new Fault('invalid JSON');
  }
  return envelopeOf(parseObject(text));
}

function envelopeOf(object) {
  const contentType = object.nma_data_content_type;
  if (contentType !== undefined && typeof contentType !== 'string') throw new Fault('member "nma_data_content_type" is not a string');
  const data = object.nma_data;
  if (typeof data !== 'string' && !isObject(data)) throw new Fault('nma_data is neither an object nor a string');
  const version = member(object, 'nma_data_version');
  return {
    data,
    contentType: contentType ?? '',
    version: version === undefined ? '1' : typeof version === 'string' ? version || '1' : JSON.stringify(version),
  };
}

const unsafe = ['javascript', 'data', 'vbscript', 'blob', 'about', 'file', 'filesystem', 'view-source'];

// invalidBaseURL says why a URL opens no app, or "".
function invalidBaseURL(base) {
  if (/[\x00-\x20\x7f]/.test(base)) return 'not a URL';
  const [, scheme, rest] = base.match(/^([a-z][a-z0-9+.-]*):(.*)$/is) ?? [];
  if (!scheme) return 'a URL needs a scheme, such as https://app.example.com/open';
  const name = scheme.toLowerCase();
  if (unsafe.includes(name)) {
    return `a URL of scheme ${name} opens no app: write the one that the app is registered for, such as https://app.example.com/open or myapp://open`;
  }
  if (name.startsWith('http') && name.length <= 5 && !/^\/\/[^/?#]+/.test(rest)) return 'a web URL needs a host';
  if (base.includes(`${parameter}=`)) return `the parameter ${parameter} is added by the dispatcher`;
  return '';
}
