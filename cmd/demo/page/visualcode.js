// The visual code of oob-dispatch: what the browser and the phone both show of
// a token. It is written from docs/protocol.md alone, so that it is a check of
// the Go code, and needs nothing but WebCrypto.

const palette = [
  ['#fde8d7', '#853000'],
  ['#dcebfc', '#0b4a8c'],
  ['#dcf5e3', '#0b5c36'],
  ['#f7e1f3', '#7d1566'],
  ['#123a6b', '#ffd54a'],
  ['#5b1240', '#9be7ff'],
  ['#17472f', '#ffd9e6'],
  ['#4a2600', '#c4f5c9'],
];

async function derive(token, label) {
  const utf8 = new TextEncoder();
  const key = await crypto.subtle.importKey('raw', utf8.encode(token), { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
  return new Uint8Array(await crypto.subtle.sign('HMAC', key, utf8.encode(label)));
}

/** The digits of a token; n is 2 to 8. */
export async function digits(token, n) {
  const mac = await derive(token, 'oob-dispatch visual code v1');
  const number = new DataView(mac.buffer).getBigUint64(0) % 10n ** BigInt(n);
  return String(number).padStart(n, '0');
}

/**
 * The picture of a token with n digits: {digits, pair, rows, svg}, where pair is
 * the number of the colors, and rows are five texts of "#" and ".".
 */
export async function picture(token, n) {
  const [code, mac] = await Promise.all([digits(token, n), derive(token, 'oob-dispatch visual code v1 picture')]);
  const pair = mac[0] % palette.length;
  const rows = [];
  for (let y = 0; y < 5; y++) {
    const left = [0, 1, 2].map((x) => {
      const bit = 3 * y + x;
      return mac[1 + (bit >> 3)] & (0x80 >> (bit & 7)) ? '#' : '.';
    });
    rows.push([...left, left[1], left[0]].join(''));
  }
  return { digits: code, pair, rows, svg: svg(code, rows, ...palette[pair]) };
}

function svg(code, rows, ground, figure) {
  let cells = '';
  rows.forEach((row, y) =>
    [...row].forEach((cell, x) => {
      if (cell === '#') cells += `M${20 * x + 20} ${20 * y + 20}h20v20h-20z`;
    }),
  );
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="140" height="180" viewBox="0 0 140 180" role="img"><title>${code}</title>` +
    `<path fill="${ground}" d="M0 0h140v180H0z"/><path fill="${figure}" shape-rendering="crispEdges" d="${cells}"/>` +
    `<text x="70" y="160" fill="${figure}" font-family="monospace" font-size="26" font-weight="bold" text-anchor="middle">${code}</text></svg>`
  );
}
