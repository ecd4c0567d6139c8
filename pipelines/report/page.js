// The browser of rows: filters, list, keys.

const PAGE = 50;
const data = JSON.parse(byId('data').textContent);
const state = { found: [], at: 0 };
const texts = new Map();

const FILTERS = [
  ['show', 'Show', (row) => (row.kept ? 'in the dataset' : 'rejected')],
  ['axis', 'Axis', (row) => (row.axis ? axisName(row.axis) : null)],
  ['score', 'Score', (row) => (row.score ? String(row.score) : null)],
  ['reason', 'Reject reason', (row) => row.reason || null],
  ['source', 'Source', (row) => (data.shared[row.from] || {}).source || null],
  ['split', 'Split', (row) => row.split || null],
];

function searched(row) {
  if (!texts.has(row)) {
    const parts = [row.row_id, row.source_id, row.text, row.reasoning, row.detail, row.raw_reply,
      row.verdicts, row.metadata, data.shared[row.upstream]];
    texts.set(row, parts.map((value) => (typeof value === 'string' ? value
      : JSON.stringify(value || ''))).join('\n').toLowerCase());
  }
  return texts.get(row);
}

function makeFilters() {
  const form = byId('filters');
  for (const [name, label, value] of FILTERS) {
    const counts = new Map();
    for (const row of data.rows) {
      const key = value(row);
      if (key !== null) counts.set(key, (counts.get(key) || 0) + 1);
    }
    // A choice of one is none.
    if (counts.size < 2 && name !== 'reason') continue;
    if (!counts.size) continue;
    const options = [...counts].sort(([a], [b]) => a.localeCompare(b, 'en', { numeric: true }));
    form.append(el('label', {}, el('span', {}, label), el('select', { name, onchange: find },
      el('option', { value: '' }, 'all'),
      options.map(([key, n]) => el('option', { value: key }, `${key} (${count(n)})`)))));
  }
  form.append(el('label', { class: 'search' }, el('span', {}, 'Search'), el('input', {
    type: 'search', name: 'text', placeholder: 'words of prompt, rationale, reply, id',
    oninput: find })));
  form.addEventListener('submit', (event) => event.preventDefault());
}

function find() {
  const form = byId('filters');
  const wanted = FILTERS.filter(([name]) => form.elements[name] && form.elements[name].value)
    .map(([name, , value]) => [value, form.elements[name].value]);
  const words = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
  state.found = data.rows.filter((row) => wanted.every(([value, choice]) => value(row) === choice)
    && words.every((word) => searched(row).includes(word)));
  byId('clear').hidden = !wanted.length && !words.length;
  byId('found').textContent = `${plural(state.found.length, 'row')} found`
    + (state.found.length === data.rows.length ? '' : ` of ${count(data.rows.length)} shown here`);
  choose(0);
}

function choose(at, focus) {
  const page = Math.floor(state.at / PAGE);
  state.at = Math.max(0, Math.min(at, state.found.length - 1));
  if (state.listed !== state.found || Math.floor(state.at / PAGE) !== page) listPage();
  for (const button of byId('list').querySelectorAll('button')) {
    const chosen = Number(button.dataset.at) === state.at;
    if (chosen) button.setAttribute('aria-current', 'true');
    else button.removeAttribute('aria-current');
    if (!chosen) continue;
    if (focus) button.focus({ preventScroll: true });
    const list = byId('list');
    const [box, view] = [button.getBoundingClientRect(), list.getBoundingClientRect()];
    if (box.top < view.top) list.scrollTop -= view.top - box.top;
    if (box.bottom > view.bottom) list.scrollTop += box.bottom - view.bottom;
  }
  showRow();
}

function listPage() {
  const first = Math.floor(state.at / PAGE) * PAGE;
  const rows = state.found.slice(first, first + PAGE);
  byId('list').replaceChildren(...rows.map((row, i) => {
    const shown = data.pictures[row.pictures.edited_image || row.pictures.image];
    const thumb = shown ? el('img', { alt: '', src: `data:image/webp;base64,${shown.data}` })
      : el('span', { class: 'blank' });
    return el('li', {}, el('button', { type: 'button', 'data-at': first + i,
      onclick: () => { choose(first + i); toDetail(); } }, thumb,
    el('span', { class: 'words' }, el('span', { class: 'line' }, row.text || row.row_id),
      el('span', { class: 'muted small' }, [row.axis && axisName(row.axis),
        row.kept ? row.split : row.reason].filter(Boolean).join(' · '))),
    row.score ? chip(row.score) : null));
  }));
  byId('list').scrollTop = 0;
  state.listed = state.found;
  byId('page-at').textContent = rows.length
    ? `${count(first + 1)}–${count(first + rows.length)} of ${count(state.found.length)}` : '';
  byId('page-back').disabled = first === 0;
  byId('page-on').disabled = first + PAGE >= state.found.length;
}

function showRow() {
  const row = state.found[state.at];
  if (!row) {
    stopBlinking();
    show('detail', el('p', { class: 'muted' }, data.rows.length
      ? 'No row is like that. Clear a filter to see more.' : 'This build has no rows.'));
    return;
  }
  const others = data.rows.filter((other) => other.row_id === row.row_id && other !== row);
  const step = (by, name) => el('button', { type: 'button', class: 'quiet',
    disabled: !state.found[state.at + by], onclick: () => { choose(state.at + by); toDetail(); } },
  name);
  const steps = el('span', { class: 'steps' }, others.map((other) => el('button', { type: 'button',
    class: 'quiet', onclick: () => jump(other) }, `See ${axisName(other.axis).toLowerCase()}`)),
  step(-1, 'Previous'), step(1, 'Next'));
  show('detail', ...detailOf(row, data, steps).flat(Infinity).filter(Boolean));
}

function jump(row) {
  if (!state.found.includes(row)) { byId('filters').reset(); find(); }
  choose(state.found.indexOf(row));
  toDetail();
}

// Where the list stands above the row, or the row's head was scrolled away.
function toDetail() {
  const top = byId('detail').getBoundingClientRect().top;
  if (top < 0 || top > innerHeight * 0.7) byId('detail').scrollIntoView();
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const inText = event.target.matches('select, input[type="search"]');
  if (event.key === 'Escape' && inText) event.target.blur();
  if (inText) return;
  const inList = byId('list').contains(event.target);
  const move = (by) => { choose(state.at + by, inList); if (!inList) toDetail(); };
  const actions = {
    j: () => move(1), k: () => move(-1),
    ArrowDown: inList && (() => move(1)), ArrowUp: inList && (() => move(-1)),
    d: () => comparison.choose && comparison.choose('beside'),
    s: () => { if (comparison.choose) comparison.choose('swipe');
      if (comparison.slider) comparison.slider.focus(); },
    b: () => comparison.choose && comparison.choose('blink'),
    f: comparison.flip, p: comparison.pause,
    '/': () => byId('filters').elements.text.focus(), '?': toggleHelp,
  };
  if (!actions[event.key]) return;
  event.preventDefault();
  actions[event.key]();
}

function toggleHelp() {
  byId('help').hidden = !byId('help').hidden;
  byId('help-button').setAttribute('aria-expanded', String(!byId('help').hidden));
}

function start() {
  showFigures(data);
  const { kept, rejects, picture_px: px } = data.sample;
  const of = ([shown, all], what) => (!all ? `no ${what}` : shown === all ? `all ${count(all)} ${what}`
    : `${count(shown)} of ${count(all)} ${what}`);
  show('rows-lead', `Here are ${of(kept, 'rows of the dataset')} and ${of(rejects, 'rejects')}`
    + (kept[0] + rejects[0] < kept[1] + rejects[1]
      ? ', chosen at random so that every score and reject reason is seen: rare ones are commoner '
        + 'here than in the build, so read rates from the figures above. ' : '. ')
    + (px ? `Pictures are small copies, at most ${px} px a side.` : ''));
  makeFilters();
  byId('clear').addEventListener('click', () => { byId('filters').reset(); find(); });
  byId('help-button').addEventListener('click', toggleHelp);
  byId('page-back').addEventListener('click', () =>
    choose((Math.floor(state.at / PAGE) - 1) * PAGE));
  byId('page-on').addEventListener('click', () => choose((Math.floor(state.at / PAGE) + 1) * PAGE));
  document.addEventListener('keydown', onKey);
  find();
}

start();
