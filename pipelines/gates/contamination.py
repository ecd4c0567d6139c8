"""Rows that a benchmark holds too: a model trained on them cannot be measured there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from pipelines.gates.words import normalise_text, word_runs
from pipelines.picture_hash import (
    colour_distance,
    colour_signature,
    hash_distance,
    perceptual_hash,
)
from pipelines.picture_refs import PictureRef
from pipelines.pictures import PictureRejected, prepare_picture
from pipelines.settings import Source
from pipelines.source_checks import PICTURE_COLUMNS, columns_of
from pipelines.sources import SourceError, read_source

# GPT-3 (arXiv:2005.14165) looked for 13 words in a row; prompts are shorter.
GRAM_WORDS = 8
# Hex digits: 32 bits, as in duplicates.py.
_PIECE_DIGITS = 8
_NOTHING_THERE = ("source:missing_value", "text:empty")


@dataclass(frozen=True, kw_only=True)
class Match:
    """A row and the item of a benchmark that it shares something with; `what` is a column."""

    benchmark: str
    item: str
    what: str


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """What is looked up of a benchmark: texts by their words, pictures by pieces of their hashes.

    `grams`: eight words in a row, `prompts`: whole prompts, each with where it stands. `pictures`:
    perceptual hash, colour signature, and where it stands; `pieces`: for each 32-bit piece of a
    hash and its position, the indices of the pictures that have it there.
    """

    grams: dict[str, Match] = field(default_factory=dict)
    prompts: dict[str, Match] = field(default_factory=dict)
    pictures: list[tuple[str, str, Match]] = field(default_factory=list)
    pieces: dict[tuple[int, str], list[int]] = field(default_factory=dict)


Benchmarks = Sequence[Benchmark]


def read_benchmarks(sources: Sequence[Source]) -> Benchmarks:
    """Read benchmarks whole: each column that a source maps. Sources of one name are one benchmark.

    A mapped `id` names an item, else its number. A value that is missing is left out. Raises
    SourceError for a row or picture that cannot be read: what was not looked at is not ruled out.
    """
    read: dict[str, Benchmark] = {}
    for source in sources:
        name = source.name or source.path
        benchmark = read.setdefault(name, Benchmark())
        for raw in read_source(source, columns_of(source)):
            if raw.fault is not None and raw.fault[0] not in _NOTHING_THERE:
                raise SourceError(f"{name}, row {raw.index}: {raw.fault[0]}: {raw.fault[1]}")
            for column, value in raw.values.items():
                match = Match(benchmark=name, item=raw.source_id or str(raw.index), what=column)
                if isinstance(value, PictureRef):
                    phash, colour = _look_at(value, f"{name}, row {raw.index}, {column}")
                    for piece in _pieces(phash):
                        benchmark.pieces.setdefault(piece, []).append(len(benchmark.pictures))
                    benchmark.pictures.append((phash, colour, match))
                elif value:
                    for gram in _grams(value):
                        benchmark.grams.setdefault(gram, match)
                    if column == "prompt":
                        benchmark.prompts.setdefault(normalise_text(value), match)
    return tuple(read.values())


def _look_at(ref: PictureRef, where: str) -> tuple[str, str]:
    """Hash and colours of a benchmark's picture."""
    try:
        data = ref.data if ref.data is not None else Path(str(ref.path)).read_bytes()
        image = prepare_picture(data).image
    except (OSError, PictureRejected) as error:
        raise SourceError(f"{where}: {error}") from error
    return perceptual_hash(image), colour_signature(image)


def _pieces(phash: str) -> Iterator[tuple[int, str]]:
    """The 32-bit pieces of a hash, each with its position."""
    starts = range(0, len(phash), _PIECE_DIGITS)
    return ((start, phash[start : start + _PIECE_DIGITS]) for start in starts)


def make_lookup(
    benchmarks: Benchmarks, *, most_bits: int, most_colour: int
) -> Callable[[dict[str, Any]], list[Match]]:
    """A function from a row, with its pictures as in `rows/`, to its first match in each benchmark.

    A prompt matches with eight words in a row or as a whole, an instruction when more than half
    of its runs of eight words do; a picture when it is near to one of a benchmark, whatever their
    roles.
    """

    def find(row: dict[str, Any]) -> list[Match]:
        if not benchmarks:
            return []
        prompt, instruction = row.get("prompt"), row.get("instruction")
        prompt_grams, instruction_grams = (_grams(text or "") for text in (prompt, instruction))
        whole = None if prompt is None else normalise_text(prompt)
        first = (
            next(
                chain(
                    _prompt_matches(whole, prompt_grams, one),
                    _instruction_matches(instruction_grams, one),
                    _picture_matches(row, one, most_bits, most_colour),
                ),
                None,
            )
            for one in benchmarks
        )
        return [match for match in first if match]

    return find


def _prompt_matches(prompt: str | None, grams: list[str], benchmark: Benchmark) -> Iterator[Match]:
    if prompt in benchmark.prompts:
        yield benchmark.prompts[prompt]
    yield from (benchmark.grams[gram] for gram in grams if gram in benchmark.grams)


def _instruction_matches(grams: list[str], benchmark: Benchmark) -> Iterator[Match]:
    found = [benchmark.grams[gram] for gram in grams if gram in benchmark.grams]
    # "Change the background of the image to a" begins too many to be anybody's.
    if 2 * len(found) > len(grams):
        yield from found


def _picture_matches(
    row: dict[str, Any], benchmark: Benchmark, most_bits: int, most_colour: int
) -> Iterator[Match]:
    for column in sorted(PICTURE_COLUMNS & row.keys()) if benchmark.pictures else ():
        picture = row[column]
        alike = {i for key in _pieces(picture["phash"]) for i in benchmark.pieces.get(key, ())}
        for phash, colour, match in (benchmark.pictures[i] for i in sorted(alike)):
            bits = hash_distance(phash, picture["phash"])
            if bits <= most_bits and colour_distance(colour, picture["colour"]) <= most_colour:
                yield match


def _grams(text: str) -> list[str]:
    return word_runs(normalise_text(text), GRAM_WORDS)
