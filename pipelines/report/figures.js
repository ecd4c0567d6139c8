// The figures of the whole build, above the rows.

const AXIS = { execution: 'Execution', consistency: 'Consistency' };
const axisName = (axis) => (axis ? AXIS[axis] || axis : 'Alignment with the prompt');
const STEPS = {
  rows: 'Could not be read', duplicates: 'Same as another row', checklists: 'No usable checklist',
  differences: 'No usable difference report', rewrites: 'No usable rewritten instruction',
  gen_scores: 'No usable score',
  edit_scores: 'No usable score', gates: 'Rejected by a gate', pictures: 'Picture gone or changed',
  balance: 'Left out for balance',
};
const TABLES = {
  checklists: 'Checklists', gen_scores: 'Scores', differences: 'Difference reports',
  rewrites: 'Rewritten instructions',
  edit_scores: 'Scores', execution: 'Execution', consistency: 'Consistency',
};
const GATES = {
  leak: 'the rationale cites what a student will not see: report, checklist, item numbers',
  degenerate: 'the rationale repeats itself, says nothing, or is in another language',
  contradiction: 'the score is not what verdicts, report or rationale say',
  agreement: 'votes or probabilities spread further than the recipe allows',
  grounding: 'the report claims changes in equal pictures, or none where much changed',
  contamination: 'text or picture is also in a benchmark',
  duplicate: 'nearly the same as a row that stands, with the same score',
};
const CONTROLS = {
  identical: 'Edited picture = source picture', shuffled: 'Prompt of another picture',
  blank: 'Blank picture',
};
const interval = (value, range) =>
  `${fixed(value, 2)}${range && !range.includes(null) ? ` (${fixed(range[0], 2)} to ${fixed(range[1], 2)})` : ''}`;

function showHead(data) {
  const { build, law, splits } = data;
  show('kind', build.kind === 'edit' ? 'Build report · edits' : 'Build report · generated pictures');
  show('name', build.name);
  const when = (build.finished_at || '').replace('T', ' ').replace('Z', ' UTC');
  show('made', `Finished ${when} by firm-foundry ${build.package_version}`
    + (build.git_commit ? `, commit ${build.git_commit}` : ''));
  const voted = data.agreement.reduce((sum, axis) => sum + axis.voted, 0);
  const agreed = data.agreement.reduce((sum, axis) => sum + axis.unanimous, 0);
  const all = data.stages[data.stages.length - 1];
  const tile = (name, value, note) => el('div', {}, el('dt', {}, name), el('dd', {},
    el('strong', {}, value), el('span', { class: 'muted' }, note)));
  const parts = Object.entries(splits).map(([split, n]) => `${split} ${count(n)}`).join(' · ');
  show('tiles',
    tile('Dataset', count(law.dataset), parts),
    tile('Rejected', count(law.rejected), `${percent(law.rejected, law.source)} of the source`),
    tile('Unanimous votes', voted ? percent(agreed, voted) : '–',
      voted ? `of ${plural(voted, 'row')} with votes` : 'one reply a row'),
    tile('Answers an hour', count(all.answers_an_hour), `${plural(all.answers, 'answer')} in all`),
    tile('Audit', data.audit
      ? `${count(data.audit.scored)} of ${plural(data.audit.rows, 'row')}` : 'Not audited',
      data.audit ? 'scored by a person' : 'no person has scored rows'));
}

function showFunnel({ build, law, funnel, answers, splits }) {
  show('funnel-lead', build.kind === 'edit'
    ? 'Every edit is scored on two axes, so it counts twice here: '
      + `${plural(law.source / 2, 'source row')}, ${count(law.source)} scores to give.`
    : `${plural(law.source, 'source row')}, one score each.`,
  ' Steps in the order in which a row meets them.');
  const bar = (left) => {
    const inner = el('span', { class: 'bar' });
    inner.style.width = `${law.source ? (100 * left) / law.source : 0}%`;
    return el('span', { class: 'track', 'aria-hidden': 'true' }, inner);
  };
  const named = (step) => {
    const found = answers[step.name];
    return [STEPS[step.name] || step.name, found && el('span', { class: 'muted small' },
      ` ${count(found.ok)} of ${plural(found.total, 'answer')} usable`)];
  };
  const reasons = (step) => (step.name === 'duplicates' ? []
    : Object.entries(step.why).sort((a, b) => b[1] - a[1]).map(([reason, n]) => ({ class: 'why',
      cells: [el('code', {}, reason), `−${count(n)}`, '', ''] })));
  const parts = Object.entries(splits).map(([split, n]) => `${split} ${count(n)}`).join(', ');
  show('funnel-table', table('What became of the source rows',
    ['Step', '#Lost', '#Left', 'Share left'], [
      { class: 'strong', cells: ['Source', '', count(law.source), bar(law.source)] },
      ...funnel.flatMap((step) => [{ class: step.lost ? null : 'nothing',
        cells: [named(step), step.lost ? `−${count(step.lost)}` : '0', count(step.left),
          bar(step.left)] }, ...reasons(step)]),
      { class: 'strong', cells: [
        ['Dataset', el('span', { class: 'muted small' }, ` ${parts}`)], '', count(law.dataset),
        bar(law.dataset)] },
    ], { class: 'funnel' }));
}

function showScores({ scores, balance }) {
  const moved = scores.some(({ before, after }) => before && before.some((n, i) => n !== after[i]));
  show('scores-lead', balance
    ? 'Rows of each score before balance left some out, and in the dataset.'
    : 'Rows of each score in the dataset. Nothing was left out for balance.');
  const key = (kind, name) => el('span', {}, el('span', { class: `key ${kind}` }), name);
  const legend = moved && el('p', { class: 'legend' }, key('before', 'before balance'),
    key('after', 'in the dataset'), balance && key('target', 'wanted'));
  show('score-charts', scores.map((axis) => el('figure', { class: 'card' },
    el('figcaption', {}, axisName(axis.axis)),
    scoreChart(`Rows by score, ${axisName(axis.axis)}`, axis), legend && legend.cloneNode(true))));
  if (!balance) return;
  show('balance-table', el('div', { class: 'card' }, table('Balance by split and axis',
    ['Split', 'Axis', '#Rows before', '#Rows after', '#Kept', '#Effective size before',
      '#Effective size after', '#Furthest from wanted'],
    balance.map((part) => [part.split, axisName(part.axis),
      count(part.before.reduce((a, b) => a + b, 0)), count(part.after.reduce((a, b) => a + b, 0)),
      percent(part.kept_share, 1), count(part.effective_before), count(part.effective_after),
      `${(100 * part.largest_deviation).toFixed(1)} points`]), { class: 'labelled' })));
}

function showAgreement({ agreement }) {
  const fact = (name, value) => el('div', {}, el('dt', {}, name), el('dd', {}, value));
  const entropies = ['0', '¼', '½', '¾', '1', '1¼', '1½', '1¾', '2', '2¼'];
  show('agreement-cards', agreement.map((axis) => el('div', { class: 'card' },
    el('h3', {}, axisName(axis.axis)),
    el('dl', { class: 'facts' },
      fact('all votes equal', axis.voted ? percent(axis.unanimous, axis.voted) : '–'),
      fact('mean spread, points', axis.voted ? fixed(axis.spread / axis.voted, 2) : '–'),
      fact('mean entropy, bits', axis.probed ? fixed(axis.entropy / axis.probed, 2) : '–'),
      fact('over 1 bit', axis.probed ? percent(axis.unsure, axis.probed) : '–'),
      fact('a score where any word was allowed', axis.freed
        ? `${percent(axis.label_mass, axis.freed)} (${count(axis.freed)} asked)` : '–')),
    el('div', { class: 'charts' },
      axis.voted ? el('figure', {}, el('figcaption', {}, 'Rows by highest vote less lowest, in points'),
        plainChart('Rows by highest vote less lowest', ['0', '1', '2', '3', '4'], axis.ranges))
        : el('p', { class: 'muted' }, 'One reply a row: no votes to compare (recipe: votes).'),
      axis.probed ? el('figure', {}, el('figcaption', {}, 'Rows by entropy, in steps of ¼ bit'),
        plainChart('Rows by entropy in bits', entropies, axis.entropies))
        : el('p', { class: 'muted' }, 'The server gave no probabilities.')))));
}

function showGates({ gates, leaks }) {
  show('gates-lead', `${plural(gates[0].met, 'scored row')} met the gates. A gate keeps or rejects `
    + 'and never changes a score; of several that object, the first in this order is counted.');
  show('gates-table', table('Gates', ['Gate, and what it rejects', '#Rejected', '#Share'],
    gates.map(({ gate, on, met, rejected }) => ({ class: on ? null : 'nothing',
      cells: [[gate, el('span', { class: 'muted small what' }, GATES[gate] || '')], on || rejected ? count(rejected) : 'off',
        on || rejected ? percent(rejected, met) : ''] }))),
  leaks && el('p', { class: 'muted small' }, leaks));
}

function showChecks({ controls, audit }) {
  const expected = (range) => (!range ? 'nothing certain'
    : [...new Set(range)].join(' to '));
  const asExpected = (line) => (line.as_expected === null ? '–'
    : `${count(line.as_expected)} (${percent(line.as_expected, line.n + line.rejected)})`);
  show('checks-body',
    el('div', { class: 'card' }, el('h3', {}, 'Controls'), controls && controls.length
      ? table('Controls', ['Control', 'Axis', '#Scored', '#No score', 'Expected', '#As expected',
        '#Mean score'], controls.map((line) => [CONTROLS[line.control] || line.control,
        axisName(line.axis), count(line.n), count(line.rejected), expected(line.expected),
        asExpected(line), fixed(line.mean_score, 2)]), { class: 'labelled' })
      : el('p', { class: 'muted' }, 'This build had no control rows.')),
    el('div', { class: 'card' }, el('h3', {}, 'Audit'), audit
      ? [table('Audit', ['Axis', '#Rows', '#Mean absolute error (95% interval)',
        '#Kappa (95% interval)'], audit.axes.map((axis) => [axisName(axis.axis), count(axis.n),
        interval(axis.mae, axis.mae_interval), interval(axis.kappa, axis.kappa_interval)]),
      { class: 'labelled' }),
      audit.axes.filter((axis) => axis.share_covered < 1).map((axis) => el('p', { class: 'small' },
        `${axisName(axis.axis)}: this holds for the ${percent(axis.share_covered, 1)} of the rows `
        + 'whose score had a row that a person scored.')),
      audit.missing > 0 && el('p', { class: 'small' }, 'Of an earlier dataset: '
        + `${count(audit.missing)} of ${plural(audit.audited, 'audited answer')} are no longer in it.`),
      el('p', { class: 'muted small' }, `${count(audit.scored)} of ${plural(audit.rows, 'row')} `
        + `scored, ${audit.audited_at}, ${audit.file}; the person was unsure of `
        + `${count(audit.unsure)}.`)]
      : el('p', { class: 'muted' }, 'Not audited: no person has scored rows of this build.')));
}

function showCost({ stages, asked }) {
  show('stages-table', table('Speed and tokens by stage',
    ['Stage', '#Answers', '#Asked again', '#Tokens in', '#Tokens out', '#Out per answer', '#Time',
      '#Answers an hour'],
    stages.map((stage) => ({ class: stage.table ? null : 'strong', cells: [
      stage.table ? TABLES[stage.table] || stage.table : 'All', count(stage.answers),
      count(stage.attempts - stage.answers), count(stage.prompt_tokens),
      count(stage.completion_tokens), count(stage.answers && stage.completion_tokens / stage.answers),
      stage.timed ? duration(stage.open_s)
        + (stage.stretches > 1 ? ` in ${stage.stretches} stretches` : '') : '–',
      count(stage.answers_an_hour)] })), { class: 'labelled' }));
  const hash = (sha) => (sha ? el('code', { title: sha }, sha.slice(0, 8)) : '–');
  show('asked-table', table('How each stage was asked',
    ['Stage', 'Model', 'Revision', 'Prompt', 'sha256', '#Temperature', '#Votes'],
    asked.map((stage) => [TABLES[stage.stage] || stage.stage, stage.asked_model,
      stage.revision || '–', stage.prompt_id, hash(stage.prompt_sha256),
      stage.temperature === null ? '–' : String(stage.temperature), count(stage.votes)]), { class: 'labelled' }));
}

function showFigures(data) {
  for (const part of [showHead, showFunnel, showScores, showAgreement, showGates, showChecks,
    showCost]) part(data);
}
