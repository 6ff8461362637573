// The little of a framework that this page needs.

export const $ = (id) => document.getElementById(id);

// h makes an element. Attributes that are functions are listeners; false and
// undefined leave an attribute out. Children are nodes or texts.
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, '');
    else if (value !== false && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((c) => c !== undefined && c !== null && c !== false));
  return element;
}

export const show = (id, ...children) => $(id).replaceChildren(...children.flat().filter(Boolean));

export const number = (n) => n.toLocaleString('en');

export const shorten = (text, most = 72) =>
  text.length <= most ? text : `${text.slice(0, most)}… (${number(text.length)} characters)`;

// codePicture shows the picture of a visual code. As an image its SVG can do
// nothing but be seen.
export const codePicture = (id, svg) => h('img', {
  id, class: 'code-picture', alt: 'A picture made from the code', width: '70', height: '90', src: `data:image/svg+xml,${encodeURIComponent(svg)}`,
});

// call makes a request and returns the answer's JSON. An answer of another
// status than 2xx is an error with the sentence that the server gives.
export async function call(method, url, { headers = {}, body } = {}) {
  let response;
  try {
    response = await fetch(url, { method, headers, body, cache: 'no-store' });
  } catch {
    throw new Error('The demo does not answer. Is it still running?');
  }
  const text = await response.text();
  let content = null;
  try {
    content = text ? JSON.parse(text) : null;
  } catch { /* such as the page of a proxy */ }
  if (!response.ok) {
    const error = new Error(content?.error && content.error.includes(' ') ? content.error : `The answer was HTTP status ${response.status}.`);
    error.status = response.status;
    throw error;
  }
  return content;
}

export const post = (url, content, headers = {}) =>
  call('POST', url, { headers: { 'Content-Type': 'application/json', ...headers }, body: JSON.stringify(content) });

// pretty writes JSON, one member a line. Members that differ from those of
// another value are marked.
export function pretty(value, other, comparing = false) {
  const lines = [];
  const write = (v, o, before, after, depth) => {
    const indent = '  '.repeat(depth);
    if (v !== null && typeof v === 'object') {
      const array = Array.isArray(v);
      const names = Object.keys(v);
      lines.push(`${indent}${before}${array ? '[' : '{'}\n`);
      names.forEach((name, i) => {
        const comma = i < names.length - 1 ? ',' : '';
        write(v[name], o !== null && typeof o === 'object' ? o[name] : undefined, array ? '' : `${JSON.stringify(name)}: `, comma, depth + 1);
      });
      lines.push(`${indent}${array ? ']' : '}'}${after}\n`);
      return;
    }
    const text = typeof v === 'string' ? JSON.stringify(shorten(v)) : JSON.stringify(v);
    const line = `${indent}${before}${text}${after}\n`;
    lines.push(comparing && v !== o ? h('mark', {}, line) : line);
  };
  write(value, other, '', '', 0);
  return h('pre', { tabindex: '0', role: 'group' }, ...lines);
}
