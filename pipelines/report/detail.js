// One row: what was asked, what the judge saw and wrote, and where it all came from.

const when = (seconds) => (seconds ? new Date(seconds * 1000).toISOString().slice(0, 19)
  .replace('T', ' ') + ' UTC' : null);
const chip = (score, wide) => el('span', { class: `chip s${score || 0}`,
  title: score ? `score ${score} of 5` : 'no score' }, score || '–', wide && score ? ' of 5' : '');
const part = (title, ...children) => el('section', {}, el('h4', {}, title), children);

function facts(pairs) {
  const known = pairs.filter(([, value]) =>
    value !== null && value !== undefined && value !== '' && !(Array.isArray(value) && !value.length));
  return el('dl', { class: 'provenance' }, known.map(([name, value]) => el('div', {},
    el('dt', {}, name), el('dd', {}, Array.isArray(value) ? value.join(' · ') : value))));
}

function checklist(row, items) {
  if (!items) return null;
  return part('Checklist', table('Checklist with verdicts', ['Requirement', 'Verdict', 'Evidence'],
    items.map((item, i) => {
      const verdict = (row.verdicts || [])[i] || {};
      return [[item.question, el('span', { class: 'muted small' },
        ` ${item.kind}${item.critical ? ', critical' : ''}`)],
      verdict.verdict && el('span', { class: `verdict ${verdict.verdict}` }, verdict.verdict),
      verdict.evidence];
    }), { class: 'stacking' }));
}

function differences({ obvious, detailed }) {
  if (!obvious) return null;
  const lines = [...obvious.map((one) => [one, 'at a glance']),
    ...(detailed || []).map((one) => [one, 'on a closer look'])];
  return part('Difference report, written without the instruction', lines.length
    ? table('Differences', ['What', 'Before', 'After'], lines.map(([one, how]) => [
      [one.subject, el('span', { class: 'muted small' }, ` ${one.category}, ${how}`)],
      one.before, one.after]), { class: 'stacking' })
    : el('p', { class: 'muted' }, 'It found no difference.'));
}

function sureness(row) {
  const votes = row.vote_scores || [];
  return part('How sure', el('div', { class: 'sure' },
    row.probs ? shareBars(`Probability of each score, expected ${fixed(row.score_expected, 2)}`,
      row.probs, row.score) : el('p', { class: 'muted' }, 'No probabilities: the server gave none.'),
    el('div', {}, el('p', { class: 'muted' }, votes.length > 1
      ? `${votes.length} votes, spread ${fixed(row.vote_spread, 2)} points` : 'One vote'),
    el('p', { class: 'votes' }, votes.map((vote) => chip(vote))))));
}

function provenance(row, shared) {
  const from = shared[row.from] || {};
  const answers = row.answers.map((answer) => {
    const asked = shared[answer.asked];
    return el('div', {}, el('h5', {}, TABLES[answer.table] || 'Score'), facts([
      ['answer id', answer.answer_id], ['model', asked.model],
      ['asked for', asked.asked_model !== asked.model ? asked.asked_model : null],
      ['revision', asked.revision], ['prompt', `${asked.prompt_id} ${asked.prompt_sha256}`],
      ['system prompt', asked.system_sha256], ['retry prompt', asked.retry_sha256],
      ['schema', `${asked.schema_id} ${asked.schema_sha256}`], ['sampling', asked.sampling],
      ['attempts', answer.attempts], ['earlier faults', answer.faults],
      ['finish reason', answer.finish_reason],
      ['tokens', `${count(answer.prompt_tokens)} in, ${count(answer.completion_tokens)} out`],
      ['took', answer.took_s === null ? null : duration(answer.took_s)],
      ['answered', when(answer.answered_at)],
      ['code', `firm-foundry ${asked.package_version}, commit ${asked.git_commit || 'unknown'}`],
    ]));
  });
  return el('details', {}, el('summary', {}, 'Provenance'), facts([
    ['source', from.source], ['row in source', count(row.source_index)],
    ['source id', row.source_id], ['license', from.license || 'none stated'],
    ['split', row.split], ['row id', row.row_id], ['rewritten from', row.parent_id],
    ['rewritten as', row.rewrite], ['answer id', row.answers.length ? null : row.answer_id],
    ['picture notes', row.notes], ['metadata', row.metadata],
    ...Object.entries(row.sha256).map(([role, sha]) => [`${ROLES[role].toLowerCase()} sha256`, sha]),
  ]), answers);
}

// A reply that no score was read from; it may hold anything.
function rawReply(row) {
  const cut = row.raw_reply_length > (row.raw_reply || '').length;
  return part('Reply as it came', row.raw_reply === null
    ? el('p', { class: 'muted' }, 'None: nothing was asked, or nothing came.')
    : [el('pre', { tabindex: 0, 'aria-label': 'Reply as it came' },
      row.raw_reply === '' ? '(empty)' : row.raw_reply),
    cut && el('p', { class: 'muted small' },
      `The first ${count(row.raw_reply.length)} of ${count(row.raw_reply_length)} characters.`)]);
}

function detailOf(row, data, siblings) {
  const isEdit = data.build.kind === 'edit';
  const shared = data.shared[row.upstream] || {};
  const badge = row.kept ? el('span', { class: 'badge kept' }, 'in the dataset')
    : el('span', { class: 'badge rejected' }, 'rejected');
  const asked = el('p', { class: 'asked' }, el('span', { class: 'muted' },
    isEdit ? 'Instruction' : 'Prompt'), row.text || '(none)');
  const roles = isEdit ? ['source_image', 'edited_image'] : ['image'];
  const given = [checklist(row, shared.checklist), differences(shared)];
  const written = row.score ? [part('Rationale', el('p', { class: 'prose' }, row.reasoning)), given,
    row.answers.length ? sureness(row) : el('p', { class: 'muted' },
      'Nothing else of this answer was found in the tables of the build.')]
    : [rawReply(row), given];
  const why = row.kept ? [] : [
    part('Why it was rejected', el('p', { class: 'prose' }, el('code', {}, row.reason),
      el('br'), (row.detail || '').replace(`${row.reason}: `, '')),
    el('p', { class: 'muted small' }, `Stage ${TABLES[row.stage] || row.stage}`
        + (row.attempts ? `, ${plural(row.attempts, 'attempt')}` : ''))),
    row.faults && row.faults.length > 1 && part('Faults of its replies', el('ol',
      { class: 'faults' }, row.faults.map((fault) => el('li', {}, fault)))),
  ];
  return [
    el('header', {}, row.score ? chip(row.score, true) : null, isEdit
      && el('strong', {}, axisName(row.axis)), badge, el('code', { class: 'muted id' }, row.row_id),
    siblings),
    asked, el('div', { class: 'pictures' }, comparePictures(data.pictures, row, roles)),
    why, written, provenance(row, data.shared),
  ];
}
