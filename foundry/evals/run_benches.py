"""The commands for benchmarks that others published: read, asked, measured, reported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from foundry.evals.asking import ask
from foundry.evals.asking_pairs import AS_GIVEN, SWAPPED, ask_pairs
from foundry.evals.bench import Item, Pair, Rows
from foundry.evals.bench_files import BenchRefused
from foundry.evals.bench_tables import markdown, panels
from foundry.evals.command import Judge, measured, say, write_report
from foundry.evals.firm_bench import read_firm_bench_edit, read_firm_bench_gen
from foundry.evals.markdown import INTERVALS
from foundry.evals.modes import failures, failures_of
from foundry.evals.pair_benches import read_editreward_bench, read_pairwise
from foundry.evals.pairs_report import measure_alone, measure_together
from foundry.evals.plot import MAE_LABEL
from foundry.evals.published import published
from foundry.evals.scores_report import Found, measure_scores
from pipelines.connecting import Servers
from pipelines.version import code_version

# Where pictures go that stand in a benchmark's file.
PICTURES = "pictures"
Words = tuple[str, ...]


def firm_bench_edit(
    *,
    judge: Judge,
    data: Path,
    scores: Path | None = None,
    column: Words = (),
    image_root: Path | None = None,
    out: Path = Path("builds/firm_bench_edit"),
) -> int:
    """FIRM-Bench, edits: execution and consistency against human scores of 1 to 5.

    Parameters
    ----------
    judge
        Who is measured, and how it is reached.
    data
        The benchmark's folder, with bench_v1.jsonl and result/human_bench_v1.jsonl, or a file.
    scores
        The file of human scores, where it is another; of a file as --data, the same lines.
    column
        OURS=THEIRS, as often as needed: what a column is called there. Ours: id, source_image,
        edited_image, instruction, execution, consistency (or axis and score), score_id.
    image_root
        The folder that picture paths are relative to; that of the data, if left out.
    out
        Folder for answers and the report; what is there is not asked again. One folder a judge.

    """

    def read() -> tuple[Rows, list[Item]]:
        columns, pictures = pairs_of("--column", column), out / PICTURES
        return read_firm_bench_edit(
            data, columns, scores=scores, image_root=image_root, pictures=pictures
        )

    words = _words(data, scores=scores, column=column, image_root=image_root)
    return _score("firm_bench_edit", "FIRM-Bench, edits", read, judge, words, out)


def firm_bench_gen(
    *,
    judge: Judge,
    data: Path,
    scores: Path | None = None,
    column: Words = (),
    image_root: Path | None = None,
    out: Path = Path("builds/firm_bench_gen"),
) -> int:
    """FIRM-Bench, generated pictures: how well each follows its prompt, against human scores.

    Parameters
    ----------
    judge
        Who is measured, and how it is reached.
    data
        The benchmark's folder, with bench_v1.jsonl and result/human_bench_v1.jsonl, or a file.
    scores
        The file of human scores, where it is another; of a file as --data, the same lines.
    column
        OURS=THEIRS, as often as needed: what a column is called there. Ours: id, prompt, image,
        difficulty, score, score_id.
    image_root
        The folder that picture paths are relative to; that of the data, if left out.
    out
        Folder for answers and the report; what is there is not asked again. One folder a judge.

    """

    def read() -> tuple[Rows, list[Item]]:
        columns, pictures = pairs_of("--column", column), out / PICTURES
        return read_firm_bench_gen(
            data, columns, scores=scores, image_root=image_root, pictures=pictures
        )

    words = _words(data, scores=scores, column=column, image_root=image_root)
    return _score("firm_bench_gen", "FIRM-Bench, generated pictures", read, judge, words, out)


def editreward_bench(
    *,
    judge: Judge,
    data: Path,
    column: Words = (),
    image_root: Path | None = None,
    out: Path = Path("builds/editreward_bench"),
) -> int:
    """EditReward-Bench of EditScore: of two edits, the one that people preferred.

    Parameters
    ----------
    judge
        Who is measured, and how it is reached.
    data
        A JSON lines or Parquet file.
    column
        OURS=THEIRS, as often as needed: what a column is called there. Ours: id, source_image,
        first_image (the preferred one), second_image, instruction, task_type, dimension.
    image_root
        The folder that picture paths are relative to; that of the file, if left out.
    out
        Folder for answers and the report; what is there is not asked again. One folder a judge.

    """

    def read() -> tuple[Rows, list[Pair]]:
        columns, pictures = pairs_of("--column", column), out / PICTURES
        return read_editreward_bench(data, columns, image_root=image_root, pictures=pictures)

    words = _words(data, column=column, image_root=image_root)
    return _score("editreward_bench", "EditReward-Bench", read, judge, words, out)


def pairwise(
    *,
    judge: Judge,
    data: Path,
    column: Words = (),
    choice: Words = (),
    image_root: Path | None = None,
    together: bool = False,
    out: Path = Path("builds/pairwise"),
) -> int:
    """Any set of pairs with a human choice, such as GenAI-Bench or MMRB2.

    Parameters
    ----------
    judge
        Who is measured, and how it is reached.
    data
        A JSON lines or Parquet file.
    column
        OURS=THEIRS, as often as needed: what a column is called there. Ours: id, prompt (for edits
        instruction and source_image, both to be mapped), first_image, second_image, choice, part.
    choice
        first=VALUE, second=VALUE or tie=VALUE, as often as needed: what a choice is called there.
    image_root
        The folder that picture paths are relative to; that of the file, if left out.
    together
        Show a judge of pairs both pictures at once, in both orders, instead of scoring each alone.
    out
        Folder for answers and the report; what is there is not asked again. One folder a judge.

    """

    def read() -> tuple[Rows, list[Pair]]:
        meant: dict[str, list[str]] = {}
        for word in choice:
            for ours, theirs in pairs_of("--choice", (word,)).items():
                meant.setdefault(ours, []).append(theirs)
        columns, pictures = pairs_of("--column", column), out / PICTURES
        return read_pairwise(data, columns, choices=meant, image_root=image_root, pictures=pictures)

    title = f"Pairs of {data.name}"
    words = _words(data, column=column, choice=choice, image_root=image_root)
    if together:
        words = ("--together", *words)
        return _choose(f"{title}, shown together", read, judge, words, out)
    return _score("pairwise", title, read, judge, words, out)


COMMANDS = (firm_bench_edit, firm_bench_gen, editreward_bench, pairwise)


def pairs_of(option: str, words: Sequence[str]) -> dict[str, str]:
    """Our names to theirs, of words OURS=THEIRS. Raises BenchRefused."""
    found: dict[str, str] = {}
    for word in words:
        ours, equals, theirs = word.partition("=")
        if not (ours and equals and theirs):
            raise BenchRefused(f"{option} {word}: write it as OURS=THEIRS")
        found[ours] = theirs
    return found


def _words(
    data: Path,
    *,
    scores: Path | None = None,
    column: Words = (),
    choice: Words = (),
    image_root: Path | None = None,
) -> Words:
    """What a benchmark was given on the command line."""
    once = {"--data": data, "--scores": scores, "--image-root": image_root}
    given = [(option, str(value)) for option, value in once.items() if value is not None]
    given += [("--column", word) for word in column] + [("--choice", word) for word in choice]
    return tuple(word for option in given for word in option)


def _score(
    name: str,
    title: str,
    read: Callable[[], tuple[Rows, Sequence[Item] | Sequence[Pair]]],
    judge: Judge,
    words: Words,
    out: Path,
) -> int:
    """Each row scored in a request of its own."""

    def work(servers: Servers, endpoint: dict[str, Any]) -> Found:
        rows, of_rows = read()
        answers = ask(name, rows, of_rows, out, endpoint=endpoint, servers=servers, say=say)
        items = [one for one in of_rows if isinstance(one, Item)]
        pairs = [one for one in of_rows if isinstance(one, Pair)]
        found = measure_scores(items, answers) if items else measure_alone(pairs, answers)
        return found | {"failures": failures(answers)}

    return _report(name, title, work, judge, words, out)


def _choose(
    title: str,
    read: Callable[[], tuple[Rows, Sequence[Pair]]],
    judge: Judge,
    words: Words,
    out: Path,
) -> int:
    """Both pictures of a pair in one request, in both orders."""

    def work(servers: Servers, endpoint: dict[str, Any]) -> Found:
        rows, pairs = read()
        if rows.kind != "gen":
            raise BenchRefused("--together is for generated pictures: edits have a source picture")
        choices = ask_pairs(
            "pairwise", rows, pairs, out, endpoint=endpoint, servers=servers, say=say
        )
        replies = {
            AS_GIVEN: [one.as_given for one in choices],
            SWAPPED: [one.swapped for one in choices],
        }
        return measure_together(pairs, choices) | {"failures": failures_of(replies)}

    return _report("pairwise-together", title, work, judge, words, out)


def _report(
    name: str,
    title: str,
    work: Callable[[Servers, dict[str, Any]], Found],
    judge: Judge,
    words: Words,
    out: Path,
) -> int:
    done = measured(work, out, judge)
    if isinstance(done, int):
        return done
    found, weights = done
    bench = name.removesuffix("-together")
    found |= {
        "bench": name,
        "published": published(bench),
        "model": judge.model,
        "weights": weights,
        **code_version(),
    }
    head = f"# {title}\n\n{INTERVALS} ([docs/evaluation.md](../evaluation.md)).\n\n![]({name}.png)"
    label = "accuracy, ties wrong" if "human" in found["items"][0] else MAE_LABEL
    how = (bench, *judge.words(), *words, "--out", out)
    shown = (label, panels(found))
    return write_report(out / f"{name}.md", head, how, found, markdown(found), shown)
