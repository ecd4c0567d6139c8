// Small charts as SVG. Every value stands above its bar, and in the chart's label as words.

const CHART = { width: 360, base: 138, top: 24 };
const SHORT = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });
const short = (n) => (n < 10000 ? count(n) : SHORT.format(n));

function bars(label, names, series, notes) {
  const { width, base, top } = CHART;
  const height = base + (notes ? 38 : 24);
  const most = Math.max(1, ...series.flatMap((one) => one.values));
  const step = width / names.length;
  const high = (value) => ((base - top) * value) / most;
  const shapes = [];
  names.forEach((name, i) => {
    const middle = step * (i + 0.5);
    for (const { kind, values, share } of series) {
      const wide = step * share;
      const tall = high(values[i]);
      if (kind === 'target') {
        shapes.push(draw('line', { class: kind, x1: middle - wide / 2, x2: middle + wide / 2,
          y1: base - tall, y2: base - tall }));
      } else if (values[i] > 0) {
        shapes.push(draw('rect', { class: kind, x: middle - wide / 2, width: wide,
          y: base - Math.max(tall, 1.5), height: Math.max(tall, 1.5), rx: 2 }));
      }
    }
    const tallest = Math.max(...series.map((one) => high(one.values[i])));
    const counted = series.filter((one) => one.kind !== 'target').map((one) => one.values[i]);
    shapes.push(draw('text', { class: counted.some(Boolean) ? 'value' : 'value none', x: middle,
      y: base - tallest - 6 }, counted.map(short).join(' → ')));
    shapes.push(draw('text', { class: 'name', x: middle, y: base + 17 }, name));
    if (notes) shapes.push(draw('text', { class: 'note', x: middle, y: base + 32 }, notes[i]));
  });
  const said = names.map((name, i) =>
    `${name}: ${series.map((one) => `${one.said || ''}${count(one.values[i])}`).join(', ')}`);
  return draw('svg', { class: 'chart', viewBox: `0 0 ${width} ${height}`, role: 'img',
    'aria-label': `${label}. ${said.join('; ')}` },
  draw('line', { class: 'base', x1: 0, x2: width, y1: base, y2: base }), shapes);
}

function scoreChart(label, { before, after, target }) {
  const total = after.reduce((sum, n) => sum + n, 0);
  const moved = before && before.some((n, i) => n !== after[i]);
  const series = [{ kind: 'after', said: moved ? 'in the dataset ' : '', values: after,
    share: moved ? 0.4 : 0.62 }];
  if (moved) series.unshift({ kind: 'before', said: 'before balance ', values: before, share: 0.7 });
  if (target) series.push({ kind: 'target', said: 'wanted ', values: target, share: 0.8 });
  return bars(label, ['1', '2', '3', '4', '5'], series, after.map((n) => percent(n, total)));
}

const plainChart = (label, names, values) =>
  bars(label, names, [{ kind: 'after', values, share: 0.62 }]);

// Rows of five, label and length: a score's distribution.
function shareBars(label, shares, chosen) {
  const lines = shares.map((share, i) => {
    const bar = el('span', { class: 'bar' });
    bar.style.width = `${100 * share}%`;
    return el('tr', { class: i + 1 === chosen ? 'chosen' : null },
      el('th', { scope: 'row' }, i + 1), el('td', {}, el('span', { class: 'track' }, bar)),
      el('td', { class: 'n' }, share.toFixed(3)));
  });
  return el('table', { class: 'shares' }, el('caption', {}, label),
    el('thead', { class: 'unseen' }, el('tr', {}, el('th', { scope: 'col' }, 'Score'),
      el('th', { scope: 'col' }, 'Bar'), el('th', { scope: 'col' }, 'Probability'))),
    el('tbody', {}, lines));
}
