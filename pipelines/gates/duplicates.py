"""Near duplicates: rows with one text whose pictures look the same.

Pictures look the same when their perceptual hashes differ in few bits and their colours in little
(picture_hash.py). Rows that are alike in all of this are one set. Of different sets, those are
compared that share one of eight 32-bit pieces of a hash: two hashes that differ in at most seven
bits always do, others the seldomer the more they differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.picture_hash import COLOUR_BYTES, HASH_BYTES

_BANDS = HASH_BYTES // 4
_PAIRS_AT_ONCE = 1_000_000


@dataclass(frozen=True, kw_only=True)
class NearRows:
    """Which rows look like which.

    `sets`: the number of the set of each row that is like another, by row id. `near`: for a set the
    sets that are near to it, and itself. `capped`: groups of sets with one text and one piece of a
    hash that were too many to be compared wholly.
    """

    sets: dict[str, int]
    near: dict[int, frozenset[int]]
    capped: int


NOTHING_NEAR = NearRows(sets={}, near={}, capped=0)


def find_near_rows(
    rows: pl.DataFrame,
    roles: Sequence[str],
    *,
    most_bits: int,
    most_colour: int,
    most_compared: int = 64,
) -> NearRows:
    """Rows of one text whose pictures are near in every role.

    `rows` has `row_id`, `text` and for each role the hex digits `<role>_phash` and `<role>_colour`;
    `most_bits` is of 256, `most_colour` a `colour_distance`. Of sets that share a text and a piece
    of a hash, each is compared with the `most_compared` after it. Time is linear in the rows for a
    given `most_compared`.
    """
    looks = ["text", *(f"{role}_{what}" for role in roles for what in ("phash", "colour"))]
    sets = rows.group_by(looks, maintain_order=True).agg("row_id")
    pairs, capped = _near_sets(sets, roles, most_bits, most_colour, most_compared)
    near: dict[int, set[int]] = {}
    for first, second in pairs.tolist():
        near.setdefault(first, {first}).add(second)
        near.setdefault(second, {second}).add(first)
    for one in np.flatnonzero(sets["row_id"].list.len().to_numpy() > 1).tolist():
        near.setdefault(one, {one})
    return NearRows(
        sets={row_id: one for one in near for row_id in sets["row_id"][one]},
        near={one: frozenset(others) for one, others in near.items()},
        capped=capped,
    )


def _near_sets(
    sets: pl.DataFrame, roles: Sequence[str], most_bits: int, most_colour: int, most_compared: int
) -> tuple[NDArray[np.int64], int]:
    """Pairs of near sets, each once, and how many groups were not compared wholly."""
    texts = sets["text"].cast(pl.Categorical).to_physical().to_numpy().astype(np.uint64)
    hashes = {role: _unpack(sets[f"{role}_phash"], HASH_BYTES) for role in roles}
    colours = {role: _unpack(sets[f"{role}_colour"], COLOUR_BYTES) for role in roles}
    # The last role is what was made: sources are shared by many rows.
    pieces = hashes[roles[-1]].view(np.uint32)
    found = [np.empty((0, 2), np.int64)]
    capped = 0
    # For a band with groups not wholly compared, where each set stands in its order.
    places: dict[int, NDArray[np.int32]] = {}
    for band in range(_BANDS):
        key = (texts << np.uint64(32)) | pieces[:, band]
        order = np.argsort(key, kind="stable")
        key = key[order]
        for step in range(1, min(most_compared + 2, len(key))):
            same = np.flatnonzero(key[step:] == key[:-step])
            if not len(same):
                break
            if step > most_compared:
                capped += len(np.unique(key[same]))
                places[band] = np.empty(len(order), np.int32)
                places[band][order] = np.arange(len(order), dtype=np.int32)
                break
            pairs = np.stack([order[same], order[same + step]], axis=1)
            new = ~_compared(pairs, pieces[:, :band], places, most_compared)
            found.append(_near(pairs[new], hashes, colours, most_bits, most_colour))
    return np.concatenate(found), capped


def _compared(
    pairs: NDArray[np.int64],
    pieces: NDArray[np.uint32],
    places: dict[int, NDArray[np.int32]],
    most_compared: int,
) -> NDArray[np.bool_]:
    """Which of the pairs were compared for one of the earlier pieces, given those of each set."""
    first, second = pairs.T
    compared = pieces[first] == pieces[second]
    for band, place in places.items():
        compared[:, band] &= np.abs(place[first] - place[second]) <= most_compared
    return compared.any(axis=1)


def _unpack(digits: pl.Series, width: int) -> NDArray[np.uint8]:
    """Hex digits as bytes: a row of `width` each."""
    data = bytes.fromhex("".join(digits.to_list()))
    return np.frombuffer(data, np.uint8).reshape(len(digits), width)


def _near(
    pairs: NDArray[np.int64],
    hashes: dict[str, NDArray[np.uint8]],
    colours: dict[str, NDArray[np.uint8]],
    most_bits: int,
    most_colour: int,
) -> NDArray[np.int64]:
    """Those of the pairs that are near in every role, a million at a time to bound memory."""
    kept = []
    for start in range(0, len(pairs), _PAIRS_AT_ONCE):
        some = pairs[start : start + _PAIRS_AT_ONCE]
        for role, hashed in hashes.items():
            bits = np.bitwise_count(hashed[some[:, 0]] ^ hashed[some[:, 1]]).sum(axis=1)
            some = some[bits <= most_bits]
            first, second = (colours[role][some[:, i]].astype(np.int16) for i in (0, 1))
            apart = np.abs(first - second).max(axis=1, initial=0)
            some = some[apart <= most_colour]
        kept.append(some)
    return np.concatenate([pairs[:0], *kept])
