// Elements from data. Text goes in as text nodes and attributes by name: nothing is parsed as HTML.

const SVG = 'http://www.w3.org/2000/svg';

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? '' : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : String(child));
  }
  return node;
}

const el = (tag, attributes, ...children) =>
  fill(document.createElement(tag), attributes, children);
const draw = (tag, attributes, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);
const byId = (id) => document.getElementById(id);
const show = (id, ...children) => byId(id).replaceChildren(...children.flat().filter(Boolean));

const count = (n) => (n === null || n === undefined ? '–' : Math.round(n).toLocaleString('en'));
const fixed = (n, digits) => (n === null || n === undefined ? '–' : n.toFixed(digits));
const plural = (n, one, many) => `${count(n)} ${n === 1 ? one : many || one + 's'}`;

function percent(part, whole) {
  if (!whole) return '–';
  const share = (100 * part) / whole;
  // A share that is not zero must not look like it, nor one below all like all.
  if (share > 0 && share < 0.1) return '<0.1%';
  if (share < 100 && share > 99.9) return '>99.9%';
  return share === 0 || share === 100 ? `${share}%` : `${share.toFixed(1)}%`;
}

function duration(seconds) {
  if (seconds < 120) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

// Headers that begin with '#' are of numbers, and aligned like them.
function table(caption, headers, rows, attributes) {
  const isNumber = headers.map((header) => header.startsWith('#'));
  const cell = (value, i) => {
    const kind = isNumber[i] ? { class: 'n' } : {};
    const tag = i === 0 ? 'th' : 'td';
    // On a phone a table may become a list, with each value named.
    const label = { 'data-label': headers[i].replace(/^#/, '') };
    return el(tag, { ...kind, ...(i === 0 ? { scope: 'row' } : label) }, value);
  };
  const line = (row) => {
    const cells = Array.isArray(row) ? row : row.cells;
    return el('tr', { class: row.class }, cells.map(cell));
  };
  const head = headers.map((header, i) =>
    el('th', { scope: 'col', class: isNumber[i] ? 'n' : null }, header.replace(/^#/, '')),
  );
  return el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': caption },
    el('table', attributes, el('caption', { class: 'unseen' }, caption),
      el('thead', {}, el('tr', {}, head)), el('tbody', {}, rows.map(line))));
}
