"""Shards: whole or not there, and never another file than the manifest describes."""

import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.shards import (
    ShardDamaged,
    read_manifest,
    read_shard,
    shard_paths,
    write_json,
    write_shard,
)

OLD = pa.table({"score": [1, 2, 3], "text": ["a", "b", "c"]})
NEW = pa.table({"score": [5], "text": ["new"]})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "gen_scores" / "00000-000.parquet"


def test_a_shard_is_read_as_it_was_written(path):
    write_shard(path, OLD, {"table": "gen_scores"})
    assert read_shard(path).equals(OLD)
    assert read_manifest(path)["rows"] == 3
    assert read_manifest(path)["table"] == "gen_scores"
    assert shard_paths(path.parent) == [path]
    assert sorted(p.name for p in path.parent.iterdir()) == ["00000-000.json", "00000-000.parquet"]


def fail(*_, **__):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    "step", ["pq.write_table", "os.fsync", "file_sha256", "os.replace", "write_json"]
)
def test_a_failure_at_any_step_leaves_no_shard(path, monkeypatch, step):
    monkeypatch.setattr(f"pipelines.shards.{step}", fail)
    with pytest.raises(OSError, match="No space left"):
        write_shard(path, OLD, {})
    monkeypatch.undo()
    assert shard_paths(path.parent) == []
    assert not path.with_suffix(".json").exists()
    assert not [p for p in path.parent.iterdir() if p.name.endswith(".part")]
    write_shard(path, NEW, {})
    assert read_shard(path).equals(NEW)


def test_a_parquet_cut_short_by_a_full_disk_never_gets_its_name(path, monkeypatch):
    def half(table, target, **_):
        target.write_bytes(b"PAR1 and not more")
        fail()

    monkeypatch.setattr("pipelines.shards.pq.write_table", half)
    with pytest.raises(OSError, match="No space left"):
        write_shard(path, OLD, {})
    assert list(path.parent.iterdir()) == []


def test_the_manifest_comes_last(path, monkeypatch):
    seen = []

    def watch(target, value):
        seen.append((target.name, path.exists(), target.exists()))
        write_json(target, value)

    monkeypatch.setattr("pipelines.shards.write_json", watch)
    write_shard(path, OLD, {})
    assert seen == [("00000-000.json", True, False)]


@pytest.mark.parametrize("step", ["pq.write_table", "write_json"])
def test_an_old_manifest_never_vouches_for_a_new_parquet(path, monkeypatch, step):
    write_shard(path, OLD, {})
    monkeypatch.setattr(f"pipelines.shards.{step}", fail)
    with pytest.raises(OSError, match="No space left"):
        write_shard(path, NEW, {})
    assert shard_paths(path.parent) == []


def test_another_file_of_as_many_rows_is_damage(path):
    write_shard(path, OLD, {})
    pq.write_table(pa.table({"score": [5, 5, 5], "text": ["x", "y", "z"]}), path)
    with pytest.raises(ShardDamaged, match=r"00000-000\.parquet: not the file"):
        read_shard(path)


def test_one_changed_byte_anywhere_is_damage(path):
    write_shard(path, OLD, {})
    data = path.read_bytes()
    for at in range(0, len(data), 7):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(ShardDamaged):
            read_shard(path)
    for cut in (0, 4, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:cut])
        with pytest.raises(ShardDamaged, match="delete it"):
            read_shard(path)


@pytest.mark.parametrize("manifest", ["", "{}", "[]", "null", '{"sha256": 1}'])
def test_a_manifest_that_says_nothing_is_damage(path, manifest):
    write_shard(path, OLD, {})
    path.with_suffix(".json").write_text(manifest)
    with pytest.raises(ShardDamaged):
        read_shard(path)


def test_a_shard_without_a_manifest_does_not_exist(path):
    write_shard(path, OLD, {})
    write_shard(path.with_name("00001-000.parquet"), OLD, {})
    os.unlink(path.with_suffix(".json"))
    assert [p.name for p in shard_paths(path.parent)] == ["00001-000.parquet"]
    with pytest.raises(ShardDamaged, match=r"00000-000\.parquet"):
        read_shard(path)


def test_a_folder_that_is_not_there_has_no_shards(tmp_path):
    assert shard_paths(tmp_path / "nowhere") == []
