"""Rows that a benchmark holds too: a model trained on them cannot be measured there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.gates.duplicates import COLOUR_BYTES, HASH_BYTES
from pipelines.gates.words import normalise_text, word_runs
from pipelines.picture_hash import colour_signature, perceptual_hash
from pipelines.picture_refs import PictureRef
from pipelines.pictures import PictureRejected, prepare_picture
from pipelines.recipe import Source
from pipelines.source_checks import PICTURE_COLUMNS, columns_of
from pipelines.sources import SourceError, read_source

# GPT-3 (arXiv:2005.14165) looked for 13 words in a row; prompts are shorter.
GRAM_WORDS = 8
_NOTHING_THERE = ("source:missing_value", "text:empty")


@dataclass(frozen=True, kw_only=True)
class Match:
    """A row and the item of a benchmark that it shares something with; `what` is a column."""

    benchmark: str
    item: str
    what: str


@dataclass(frozen=True, kw_only=True)
class Benchmarks:
    """What is looked up of benchmarks: texts by their words, pictures by pieces of their hashes.

    `grams`: eight words in a row, `prompts`: whole prompts, each with where it stands. `bands`: for
    each 32-bit piece of a hash and its position, the pictures that have it there, as indices into
    `hashes` (n, 32), `colours` (n, 48) and `pictures`.
    """

    grams: dict[str, Match]
    prompts: dict[str, Match]
    bands: dict[tuple[int, int], list[int]]
    hashes: NDArray[np.uint8]
    colours: NDArray[np.uint8]
    pictures: list[Match]


def read_benchmarks(sources: Sequence[Source]) -> Benchmarks:
    """Read benchmarks whole: each column that a source maps.

    A mapped `id` names an item, else its number. A value that is missing is left out. Raises
    SourceError for a row or picture that cannot be read: what was not looked at is not ruled out.
    """
    grams: dict[str, Match] = {}
    prompts: dict[str, Match] = {}
    pictures: list[Match] = []
    seen: list[tuple[bytes, bytes]] = []
    for source in sources:
        name = source.name or source.path
        for raw in read_source(source, columns_of(source)):
            if raw.fault is not None and raw.fault[0] not in _NOTHING_THERE:
                raise SourceError(f"{name}, row {raw.index}: {raw.fault[0]}: {raw.fault[1]}")
            for column, value in raw.values.items():
                match = Match(benchmark=name, item=raw.source_id or str(raw.index), what=column)
                if isinstance(value, PictureRef):
                    seen.append(_look_at(value, f"{name}, row {raw.index}, {column}"))
                    pictures.append(match)
                elif value:
                    for gram in _grams(value):
                        grams.setdefault(gram, match)
                    if column == "prompt":
                        prompts.setdefault(normalise_text(value), match)
    hashes = np.frombuffer(b"".join(h for h, _ in seen), np.uint8).reshape(-1, HASH_BYTES)
    colours = np.frombuffer(b"".join(c for _, c in seen), np.uint8).reshape(-1, COLOUR_BYTES)
    bands: dict[tuple[int, int], list[int]] = {}
    for i, pieces in enumerate(hashes.view(np.uint32).tolist()):
        for key in enumerate(pieces):
            bands.setdefault(key, []).append(i)
    return Benchmarks(
        grams=grams,
        prompts=prompts,
        bands=bands,
        hashes=hashes,
        colours=colours,
        pictures=pictures,
    )


def _look_at(ref: PictureRef, where: str) -> tuple[bytes, bytes]:
    """Hash and colours of a benchmark's picture."""
    try:
        data = ref.data if ref.data is not None else Path(str(ref.path)).read_bytes()
        image = prepare_picture(data).image
    except (OSError, PictureRejected) as error:
        raise SourceError(f"{where}: {error}") from error
    return bytes.fromhex(perceptual_hash(image)), bytes.fromhex(colour_signature(image))


def make_lookup(
    benchmarks: Benchmarks, *, most_bits: int, most_colour: int
) -> Callable[[dict[str, Any]], Match | None]:
    """A function from a row, with its pictures as in `rows/`, to the first match found.

    A prompt matches with eight words in a row or as a whole, an instruction when more than half of
    its runs of eight words do; a picture when it is near to
    one of a benchmark, whatever their roles.
    """

    def find(row: dict[str, Any]) -> Match | None:
        return next(chain(_text_matches(row, benchmarks), _picture_matches(row)), None)

    def _picture_matches(row: dict[str, Any]) -> Iterator[Match]:
        for column in sorted(PICTURE_COLUMNS & row.keys()) if benchmarks.pictures else ():
            picture = row[column]
            hashed = np.frombuffer(bytes.fromhex(picture["phash"]), np.uint8)
            colour = np.frombuffer(bytes.fromhex(picture["colour"]), np.uint8).astype(np.int16)
            pieces = hashed.view(np.uint32).tolist()
            alike = {i for key in enumerate(pieces) for i in benchmarks.bands.get(key, ())}
            for i in sorted(alike):
                bits = int(np.bitwise_count(benchmarks.hashes[i] ^ hashed).sum())
                apart = int(np.abs(benchmarks.colours[i] - colour).max())
                if bits <= most_bits and apart <= most_colour:
                    yield benchmarks.pictures[i]

    return find


def _text_matches(row: dict[str, Any], benchmarks: Benchmarks) -> Iterator[Match]:
    if (prompt := row.get("prompt")) is not None:
        if match := benchmarks.prompts.get(normalise_text(prompt)):
            yield match
        yield from (benchmarks.grams[g] for g in _grams(prompt) if g in benchmarks.grams)
    if (instruction := row.get("instruction")) is not None:
        grams = _grams(instruction)
        found = [benchmarks.grams[gram] for gram in grams if gram in benchmarks.grams]
        # "Change the background of the image to a" begins too many to be anybody's.
        if 2 * len(found) > len(grams):
            yield from found


def _grams(text: str) -> list[str]:
    return word_runs(normalise_text(text), GRAM_WORDS)
