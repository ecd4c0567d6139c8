// A row's pictures: one, or two beside each other, under a swipe, or blinking.

const BLINK_MS = 800;
const ROLES = { image: 'Picture', source_image: 'Source', edited_image: 'Edited' };
const MODES = { beside: 'Side by side', swipe: 'Swipe', blink: 'Blink' };
const stillness = matchMedia('(prefers-reduced-motion: reduce)');
const comparison = { mode: 'beside', timer: null, flip: null, pause: null, slider: null,
  choose: null };

function stopBlinking() {
  clearInterval(comparison.timer);
  Object.assign(comparison, { timer: null, flip: null, pause: null, slider: null });
}

function pictureOf(pictures, row, role) {
  const found = pictures[row.pictures[role]];
  if (!found) return null;
  const image = el('img', { alt: `${ROLES[role]} picture of the row`, width: found.width,
    height: found.height, src: `data:image/webp;base64,${found.data}` });
  // A small picture blown up further shows nothing more.
  image.style.maxWidth = `${2 * found.width}px`;
  return { image, ...found };
}

function caption(role, found) {
  const small = found.of[0] !== found.width || found.of[1] !== found.height;
  return el('figcaption', {}, el('strong', {}, ROLES[role]), el('span', { class: 'muted' },
    ` ${found.of[0]} × ${found.of[1]} px${small ? `, here ${found.width} × ${found.height}` : ''}`));
}

const noPicture = (role) => el('p', { class: 'no-picture' },
  `${ROLES[role]}: no picture. It could not be read where the report was made.`);

function beside(pictures, row, roles) {
  return el('div', { class: roles.length > 1 ? 'pair' : 'single' }, roles.map((role) => {
    const found = pictureOf(pictures, row, role);
    return found ? el('figure', {}, found.image, caption(role, found)) : noPicture(role);
  }));
}

// Both pictures over each other, in the shape of the source.
function stacked(pictures, row, extra) {
  const source = pictureOf(pictures, row, 'source_image');
  const edited = pictureOf(pictures, row, 'edited_image');
  edited.image.classList.add('above');
  const frame = el('div', { class: 'frame' }, source.image, edited.image, extra);
  for (const { image } of [source, edited]) image.style.maxWidth = 'none';
  frame.style.maxWidth = `${2 * Math.max(source.width, edited.width)}px`;
  frame.style.aspectRatio = `${source.width} / ${source.height}`;
  return { frame, above: edited.image };
}

function swipe(pictures, row) {
  const edge = el('span', { class: 'edge', 'aria-hidden': 'true' });
  const { frame, above } = stacked(pictures, row, [edge,
    el('span', { class: 'tag left', 'aria-hidden': 'true' }, 'Source'),
    el('span', { class: 'tag right', 'aria-hidden': 'true' }, 'Edited')]);
  const slider = el('input', { type: 'range', min: 0, max: 100, value: 50,
    'aria-label': 'Source picture up to, in percent of the width', oninput: place });
  function place() {
    above.style.clipPath = `inset(0 0 0 ${slider.value}%)`;
    edge.style.left = `${slider.value}%`;
  }
  function follow(event) {
    if (event.type === 'pointerdown') frame.setPointerCapture(event.pointerId);
    else if (!frame.hasPointerCapture(event.pointerId)) return;
    const box = frame.getBoundingClientRect();
    slider.value = Math.round((100 * (event.clientX - box.left)) / box.width);
    place();
  }
  frame.addEventListener('pointerdown', follow);
  frame.addEventListener('pointermove', follow);
  frame.classList.add('draggable');
  comparison.slider = slider;
  place();
  slider.style.maxWidth = frame.style.maxWidth;
  return el('div', { class: 'swipe' }, frame, slider);
}

function blink(pictures, row) {
  const tag = el('span', { class: 'tag left' });
  const { frame, above } = stacked(pictures, row, tag);
  let edited = false;
  const flip = () => {
    edited = !edited;
    above.style.visibility = edited ? 'visible' : 'hidden';
    tag.textContent = edited ? 'Edited' : 'Source';
  };
  const pause = () => {
    if (comparison.timer) { clearInterval(comparison.timer); comparison.timer = null; }
    else comparison.timer = setInterval(flip, BLINK_MS);
    button.textContent = comparison.timer ? 'Pause' : 'Blink on';
  };
  const button = el('button', { type: 'button', onclick: pause }, 'Blink on');
  const still = () => { if (comparison.timer) pause(); flip(); };
  flip(); flip();
  Object.assign(comparison, { flip: still, pause });
  if (!stillness.matches) pause();
  return el('div', { class: 'blink' }, frame, el('p', {}, button,
    el('button', { type: 'button', onclick: still }, 'Flip once')));
}

function comparePictures(pictures, row, roles) {
  stopBlinking();
  comparison.choose = null;
  const there = roles.filter((role) => pictures[row.pictures[role]]);
  if (roles.length < 2 || there.length < 2) return beside(pictures, row, roles);
  const stage = el('div', {});
  const choose = (mode) => {
    stopBlinking();
    comparison.mode = mode;
    stage.replaceChildren({ beside, swipe, blink }[mode](pictures, row, roles));
    for (const input of choice.querySelectorAll('input')) input.checked = input.value === mode;
  };
  const choice = el('fieldset', { class: 'modes' }, el('legend', { class: 'unseen' },
    'How to compare the pictures'), Object.entries(MODES).map(([mode, name]) => el('label', {},
    el('input', { type: 'radio', name: 'mode', value: mode, onchange: () => choose(mode) }),
    el('span', {}, name))));
  comparison.choose = choose;
  choose(comparison.mode);
  return el('div', { class: 'compare' }, choice, stage);
}
