"""Benchmarks of pairs: two pictures for one prompt or instruction, and which one people preferred.

EditReward-Bench (EditScore, arXiv:2509.23909) and any other set, such as GenAI-Bench or MMRB2.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from foundry.evals.bench import OVERALL, Human, Pair, Rows, group_of, group_of_picture
from foundry.evals.bench_files import BenchRefused, Line, check_columns, read_lines
from pipelines.rendering import AXES, GEN_AXIS

# The dimensions of EditReward-Bench, and what each is here.
DIMENSIONS = {"prompt_following": AXES[0], "consistency": AXES[1], "overall": OVERALL}
EDITREWARD_COLUMNS = {
    "id": "key",
    "source_image": "input_image",
    "first_image": "output_images.0",
    "second_image": "output_images.1",
}
HUMANS: tuple[Human, ...] = ("first", "second", "tie")


def read_editreward_bench(
    data: Path, columns: Mapping[str, str], *, image_root: Path | None, pictures: Path
) -> tuple[Rows, list[Pair]]:
    """EditReward-Bench: of two edits the first is the one people preferred.

    Columns: `key`, `instruction`, `input_image`, `output_images` (two), `task_type`, `dimension`.
    `pictures` as in `read_lines`. Raises BenchRefused.
    """
    names = ("source_image", "first_image", "second_image", "instruction", "task_type", "dimension")
    check_columns(columns, ("id", *names))
    columns = {**EDITREWARD_COLUMNS, **columns}
    found = read_lines(data, columns, needed=names, optional=("id",), pictures=pictures)
    root = image_root or data.parent
    rows: dict[str, dict] = {}
    pairs: list[Pair] = []
    for line in found:
        dimension = line.name("dimension")
        axis = DIMENSIONS.get(dimension.lower().replace(" ", "_"))
        if axis is None:
            raise line.refused("dimension", f"'{dimension}' is none of {', '.join(DIMENSIONS)}")
        pairs.append(_pair(line, rows, root, axis=axis, part=line.name("task_type"), human="first"))
    return _checked(found, rows, pairs, edit=True)


def read_pairwise(
    data: Path,
    columns: Mapping[str, str],
    *,
    choices: Mapping[str, Sequence[str]],
    image_root: Path | None,
    pictures: Path,
) -> tuple[Rows, list[Pair]]:
    """Any set of pairs with a human choice.

    Generated pictures have a `prompt`; edits an `instruction` and a `source_image`, and are
    compared by the reward of both axes. `choices` says what the values of `choice` mean: to each of
    `first`, `second` and `tie` the values that stand for it. `pictures` as in `read_lines`. Raises
    BenchRefused.
    """
    both = ("first_image", "second_image")
    check_columns(columns, ("id", "prompt", "instruction", "source_image", *both, "choice", "part"))
    meaning = _meaning(choices)
    edit = "instruction" in columns or "source_image" in columns
    texts = ("instruction", "source_image") if edit else ("prompt",)
    needed = (*texts, *both, "choice")
    found = read_lines(data, columns, needed=needed, optional=("id", "part"), pictures=pictures)
    root = image_root or data.parent
    rows: dict[str, dict] = {}
    pairs: list[Pair] = []
    for line in found:
        choice = line.name("choice")
        if choice not in meaning:
            raise line.refused(
                "choice", f"'{choice}' is none of {sorted(meaning)}; --choice first={choice}?"
            )
        part = "" if line.value("part") is None else line.name("part")
        axis = OVERALL if edit else GEN_AXIS
        pairs.append(_pair(line, rows, root, axis=axis, part=part, human=meaning[choice]))
    return _checked(found, rows, pairs, edit=edit)


def _meaning(choices: Mapping[str, Sequence[str]]) -> dict[str, Human]:
    unknown = sorted(set(choices) - set(HUMANS))
    if unknown:
        raise BenchRefused(f"--choice {unknown[0]}=...: a choice is one of {', '.join(HUMANS)}")
    given: list[tuple[str, Human]] = [
        (value, human) for human in HUMANS for value in choices.get(human, ())
    ]
    twice = [value for value, times in Counter(value for value, _ in given).items() if times > 1]
    if twice:
        raise BenchRefused(f"--choice ...={twice[0]}: '{twice[0]}' is given two meanings")
    told = {value for value, _ in given}
    # Without a word of it a choice is called what it is, unless that word was given to another.
    known: dict[str, Human] = {
        human: human for human in HUMANS if human not in choices and human not in told
    }
    known.update(given)
    return known


def _pair(
    line: Line, rows: dict[str, dict], root: Path, *, axis: str, part: str, human: Human
) -> Pair:
    """A pair of a line, its two rows put into `rows`."""
    edit = axis != GEN_AXIS
    shared = {"source_image": line.picture("source_image", root)} if edit else {}
    text = "instruction" if edit else "prompt"
    shared[text] = line.text(text)
    ids = [f"{line.number}:{side}" for side in HUMANS[:2]]
    for row_id, side in zip(ids, HUMANS[:2], strict=True):
        picture = line.picture(f"{side}_image", root)
        rows[row_id] = {**shared, "edited_image" if edit else "image": picture}
    return Pair(
        id=_id(line),
        first=ids[0],
        second=ids[1],
        axis=axis,
        part=part,
        group=group_of_picture(shared["source_image"]) if edit else group_of(shared["prompt"]),
        human=human,
    )


def _id(line: Line) -> str:
    """The pair's id, a list of which is joined; its line's number where there is none."""
    value = line.value("id")
    if isinstance(value, list):
        return "+".join(str(part) for part in value)
    return str(line.number) if value is None else line.name("id")


def _checked(
    lines: Sequence[Line], rows: dict[str, dict], pairs: Sequence[Pair], *, edit: bool
) -> tuple[Rows, list[Pair]]:
    """Rows and pairs; the ids of pairs, with their axis, must differ."""
    known: dict[tuple[str, str], Line] = {}
    for line, pair in zip(lines, pairs, strict=True):
        first = known.setdefault((pair.id, pair.axis), line)
        if first is not line:
            raise line.refused("id", f"'{pair.id}' stands in line {first.number} already")
    places = {
        row_id: line.place
        for line, pair in zip(lines, pairs, strict=True)
        for row_id in (pair.first, pair.second)
    }
    made = Rows(kind="edit" if edit else "gen", by_id=rows, places=places)
    return made, list(pairs)
