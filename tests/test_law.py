"""The build law: nothing is lost, doubled, or from nowhere; told by ids."""

import json

import polars as pl
import pytest
from chain_cases import make_row
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.build import BuildRefused
from pipelines.law import Law, LawBroken, check_law
from pipelines.rendering import AXES
from pipelines.rows import write_rows

KINDS = {"gen": (None,), "edit": AXES}


def make_build(build, kind, *, n_buckets=2):
    """Six source rows in two buckets: 0-3 kept, 4 rejected, 5 a duplicate of 0."""
    build.mkdir(parents=True, exist_ok=True)
    (build / "build.json").write_text(json.dumps({"kind": kind, "buckets": n_buckets}))
    rows = [make_row(i) for i in range(6)]
    rows[4] |= {"status": "rejected", "reason": "picture:missing"}
    rows[5] |= {"status": "duplicate", "duplicate_of": rows[0]["row_id"]}
    for bucket in range(n_buckets):
        mine = rows[bucket::n_buckets]
        write_rows(build, bucket, mine, kind=kind, n_buckets=n_buckets, of=str(mine))
    ids = [row["row_id"] for row in rows]
    dataset = [(i, axis) for i in ids[:4] for axis in KINDS[kind]]
    write_ends(build, kind, dataset, [(ids[4], axis) for axis in KINDS[kind]])
    return ids, dataset


def write_ends(build, kind, dataset, rejects=None):
    half = len(dataset) // 2
    write_ids(build / "dataset" / "train-00000-of-00001.parquet", kind, dataset[:half])
    write_ids(build / "dataset" / "validation-00000-of-00001.parquet", kind, dataset[half:])
    if rejects is not None:
        write_ids(build / "rejects" / "00000.parquet", "edit", rejects)


def write_ids(path, kind, ends):
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {"row_id": [i for i, _ in ends], "axis": [axis for _, axis in ends]}
    schema = {"row_id": pl.String, "axis": pl.String}
    frame = pl.DataFrame(columns, schema=schema)
    (frame if kind == "edit" else frame.drop("axis")).write_parquet(path)


def both(kind):
    return len(KINDS[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_build_passes_and_its_sets_are_counted(tmp_path, kind):
    make_build(tmp_path, kind)
    n = both(kind)
    assert check_law(tmp_path) == Law(source=6 * n, dataset=4 * n, rejected=n, duplicates=n)


@pytest.mark.parametrize("kind", KINDS)
def test_a_lost_row_is_named(tmp_path, kind):
    ids, dataset = make_build(tmp_path, kind)
    write_ends(tmp_path, kind, dataset[1:])
    with pytest.raises(LawBroken, match=f"1 lost .*{ids[0]}"):
        check_law(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_doubled_row_is_named(tmp_path, kind):
    _, dataset = make_build(tmp_path, kind)
    write_ends(tmp_path, kind, [*dataset, dataset[2]])
    with pytest.raises(LawBroken, match=f"1 doubled .*{dataset[2][0]}"):
        check_law(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("which", [0, 5])
def test_a_row_that_ended_in_two_ways_is_doubled(tmp_path, kind, which):
    ids, dataset = make_build(tmp_path, kind)
    ends = [(ids[i], axis) for i in (4, which) for axis in KINDS[kind]]
    write_ends(tmp_path, kind, dataset, ends)
    with pytest.raises(LawBroken, match=f"{both(kind)} doubled .*{ids[which]}"):
        check_law(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_from_nowhere_is_named(tmp_path, kind):
    _, dataset = make_build(tmp_path, kind)
    write_ends(tmp_path, kind, [*dataset, ("stranger", KINDS[kind][0])])
    with pytest.raises(LawBroken, match=r"1 from nowhere .*stranger"):
        check_law(tmp_path)


def test_one_row_lost_and_one_doubled_are_not_even(tmp_path):
    _, dataset = make_build(tmp_path, "gen")
    write_ends(tmp_path, "gen", [*dataset[1:], dataset[1]])
    with pytest.raises(LawBroken, match=r"doubled .*lost"):
        check_law(tmp_path)


def test_an_edit_needs_both_axes_and_no_other(tmp_path):
    ids, dataset = make_build(tmp_path, "edit")
    write_ends(tmp_path, "edit", [(i, "execution") for i, _ in dataset])
    with pytest.raises(LawBroken, match=f"doubled .*{ids[0]}/execution.*lost .*/consistency"):
        check_law(tmp_path)
    write_ends(tmp_path, "edit", [*dataset[:-1], (dataset[-1][0], None)])
    with pytest.raises(LawBroken, match="1 lost"):
        check_law(tmp_path)


def test_a_row_id_that_stands_twice_in_the_source_is_named(tmp_path):
    make_build(tmp_path, "gen")
    rows = [make_row(0), make_row(0)]
    write_rows(tmp_path, 0, rows, kind="gen", n_buckets=2, of="changed")
    with pytest.raises(LawBroken, match="doubled in rows/"):
        check_law(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_lost_a_whole_shard_are_not_whole(tmp_path, kind):
    _, dataset = make_build(tmp_path, kind)
    # Without its manifest a shard does not exist; its rows are then missing everywhere alike.
    (tmp_path / "rows" / "00001.json").unlink()
    (tmp_path / "rows" / "00001.parquet").unlink()
    write_ends(tmp_path, kind, [end for end in dataset if int(end[0], 16) % 2 == 0])
    with pytest.raises(LawBroken, match=r"no finished shard for 1 buckets: \[1\]"):
        check_law(tmp_path)


def test_a_build_without_a_dataset_has_lost_its_rows(tmp_path):
    make_build(tmp_path, "gen")
    for path in (tmp_path / "dataset").iterdir():
        path.unlink()
    with pytest.raises(LawBroken, match=r"4 lost \(.*, .*, .*\)"):
        check_law(tmp_path)
    (tmp_path / "dataset").rmdir()
    with pytest.raises(LawBroken, match="4 lost"):
        check_law(tmp_path)


def test_a_folder_that_is_no_build_is_refused(tmp_path):
    with pytest.raises(BuildRefused, match="not a build folder"):
        check_law(tmp_path)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(ends=st.lists(st.sampled_from(["dataset", "rejects", "both", "nowhere"]), min_size=4,
                     max_size=4))  # fmt: skip
def test_the_law_holds_only_if_every_row_ends_once(ends, tmp_path_factory):
    build = tmp_path_factory.mktemp("build")
    ids, _ = make_build(build, "gen")
    kept = [(i, None) for i, end in zip(ids, ends, strict=False) if end in ("dataset", "both")]
    gone = [(i, None) for i, end in zip(ids, ends, strict=False) if end in ("rejects", "both")]
    write_ends(build, "gen", kept, [*gone, (ids[4], None)])
    if set(ends) <= {"dataset", "rejects"}:
        law = check_law(build)
        assert (law.dataset, law.rejected) == (len(kept), len(gone) + 1)
    else:
        with pytest.raises(LawBroken):
            check_law(build)
