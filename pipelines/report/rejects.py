"""What the tables of answers still hold of rejected rows: who wrote what, and what it rests on.

`rejects/` has the id of the answer that a row ended with. Looked up for the rows that a page shows,
all that is shown of a kept row is there for one that a gate or balance took out, and `rejects/`
need not hold it for every row of a build.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from pipelines.build import Kind, Row
from pipelines.dataset_reading import answers_of
from pipelines.dataset_rows import SCORE_TABLES, UPSTREAM
from pipelines.report.records import SCORED_STAGES, Answers
from pipelines.report.sample import Pick, read_picks

_ID_OF_UPSTREAM: Mapping[Kind, str] = {"gen": "checklist_id", "edit": "differences_id"}


def find_answers(build: Path, kind: Kind, picks: Iterable[Pick]) -> dict[Pick, Answers]:
    """The answers of chosen rejects, of those that have one which its table still holds.

    Raises DatasetUnreadable naming the file.
    """
    scores = SCORE_TABLES[kind]
    ids: dict[str, dict[Pick, str]] = {scores: {}}
    for pick, row in read_picks([p for p in picks if not p.kept], only=("stage", "answer_id")):
        if row.get("answer_id"):
            table = scores if row["stage"] in SCORED_STAGES else row["stage"]
            ids.setdefault(table, {})[pick] = row["answer_id"]
    last = {table: _look_up(build, table, mine) for table, mine in ids.items()}
    rests_on = {pick: score.get(_ID_OF_UPSTREAM[kind]) for pick, score in last[scores].items()}
    earlier = _look_up(build, UPSTREAM[kind], rests_on)
    return {
        pick: Answers(table=table, last=row, earlier=earlier.get(pick))
        for table, rows in last.items()
        for pick, row in rows.items()
    }


def _look_up(build: Path, table: str, ids: Mapping[Pick, str | None]) -> dict[Pick, Row]:
    wanted: dict[str, set[str | None]] = {}
    for pick, answer_id in ids.items():
        # The file of a reject is named by its bucket, as the shards of its answers are.
        wanted.setdefault(pick.path.stem, set()).add(answer_id)
    found = answers_of(build, table, wanted)
    return {pick: found[answer_id] for pick, answer_id in ids.items() if answer_id in found}
