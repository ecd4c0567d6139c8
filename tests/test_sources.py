"""Sources: what they may look like, and what happens to what they should not."""

from __future__ import annotations

import base64
import io
import json
import os
import socket
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipelines.picture_refs import PictureRef, read_reference
from pipelines.pictures import PictureRejected
from pipelines.recipe import EditRecipe, GenRecipe
from pipelines.settings import Source
from pipelines.source_datasets import is_own_file
from pipelines.sources import RawRow, SourceError, check_sources, count_rows, read_source

GEN = ("prompt", "image")
ENDPOINT = {"url": "http://127.0.0.1:1/v1", "model": "none"}


def recipe(**source: Any) -> GenRecipe:
    endpoints = {"planner": ENDPOINT, "judge": ENDPOINT}
    return GenRecipe.model_validate({"output": "b", "sources": source, "endpoints": endpoints})


def rows(needed: tuple[str, ...] = GEN, allow_http: bool = False, **source: Any) -> list[RawRow]:
    found = list(read_source(Source(**source), needed, allow_http=allow_http))
    assert [row.index for row in found] == list(range(len(found)))
    return found


def faults(found: list[RawRow]) -> list[str | None]:
    return [row.fault[0] if row.fault else None for row in found]


def picture(row: RawRow, column: str = "image") -> PictureRef:
    ref = row.values[column]
    assert isinstance(ref, PictureRef)
    return ref


def png(colour: str = "red", format: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(out, format)
    return out.getvalue()


def write_jsonl(path: Path, *lines: Any) -> str:
    raw = [x if isinstance(x, bytes) else json.dumps(x).encode() for x in lines]
    path.write_bytes(b"\n".join(raw) + b"\n")
    return str(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.png").write_bytes(png("red"))
    (tmp_path / "b.png").write_bytes(png("blue"))
    return tmp_path


def test_json_lines_are_read_with_paths_relative_to_their_own_folder(folder: Path):
    path = write_jsonl(folder / "x.jsonl", {"prompt": "one", "image": "a.png", "id": 7})
    (row,) = rows(kind="jsonl", path=path)
    assert row.values["prompt"] == "one"
    assert picture(row).path == os.path.realpath(folder / "a.png")
    assert row.source_id == "7"
    assert row.fault is None


def test_columns_are_mapped_and_kept_ones_become_metadata(folder: Path):
    line = {"text": "one", "pic": "a.png", "key": "k", "score": float("nan"), "tags": ["é"]}
    path = write_jsonl(folder / "x.jsonl", line)
    columns = {"prompt": "text", "image": "pic", "id": "key"}
    (row,) = rows(kind="jsonl", path=path, columns=columns, keep=("score", "tags"))
    assert row.values["prompt"] == "one"
    assert row.source_id == "k"
    assert json.loads(row.metadata_json or "") == {"score": None, "tags": ["é"]}


def test_an_image_root_and_a_limit_are_followed(folder: Path):
    (folder / "lists").mkdir()
    lines = [{"prompt": str(i), "image": "a.png"} for i in range(5)]
    path = write_jsonl(folder / "lists" / "x.jsonl", *lines)
    source = Source(kind="jsonl", path=path, image_root=str(folder), limit=2)
    found = list(read_source(source, GEN))
    assert len(found) == count_rows(source) == 2
    assert picture(found[0]).path == os.path.realpath(folder / "a.png")


def test_a_long_text_that_is_nearly_base64_is_told_apart_at_once(folder: Path):
    # A pattern that takes quadratic time would need hours.
    text = "A" * 500_000 + " " * 500_000 + "!"
    assert read_reference(text, root=str(folder), allow_http=False).data is None


def test_pictures_come_as_bytes_paths_structs_and_base64(folder: Path):
    inline = base64.b64encode(png()).decode()
    jpeg = base64.b64encode(png(format="JPEG")).decode()
    assert jpeg.startswith("/9j/")
    values = [
        "a.png",
        inline,
        jpeg,
        f"data:image/png;base64,{inline}",
        {"bytes": inline, "path": None},
        {"bytes": None, "path": "a.png"},
    ]
    lines = [{"prompt": "p", "image": value} for value in values]
    found = rows(kind="jsonl", path=write_jsonl(folder / "x.jsonl", *lines))
    assert faults(found) == [None] * 6
    assert [picture(row).data for row in found[1:5]] == [png(), png(format="JPEG"), png(), png()]
    assert picture(found[0]).path == picture(found[5]).path == os.path.realpath(folder / "a.png")


@pytest.mark.parametrize("layout", ["file", "glob", "folder"])
def test_parquet_is_read_from_a_file_a_glob_or_a_folder(folder: Path, layout: str):
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    (folder / "in").mkdir()
    for name, part in (("x-0", 0), ("x-1", 1)):
        images = pa.array([{"bytes": png(), "path": "p"}, {"bytes": None, "path": "a.png"}], struct)
        table = pa.table({"prompt": [f"{part}0", f"{part}1"], "image": images})
        pq.write_table(table, folder / "in" / f"{name}.parquet")
    path = {"file": "in/x-0.parquet", "glob": "in/x-*.parquet", "folder": "in"}[layout]
    source = {"kind": "parquet", "path": str(folder / path), "image_root": str(folder)}
    found = rows(**source)
    prompts = ["00", "01"] if layout == "file" else ["00", "01", "10", "11"]
    assert [row.values["prompt"] for row in found] == prompts
    assert picture(found[0]).data == png()
    assert picture(found[1]).path == os.path.realpath(folder / "a.png")
    assert count_rows(Source(**source)) == len(found)
    check_sources(recipe(**source))


@pytest.mark.parametrize(
    ("prompt_type", "image_type"),
    [
        (pa.large_string(), pa.large_binary()),
        (pa.string_view(), pa.binary_view()),
        (pa.dictionary(pa.int32(), pa.string()), pa.binary()),
    ],
)
def test_parquet_of_other_arrow_types_is_the_same(folder: Path, prompt_type: Any, image_type: Any):
    prompts = pa.array(["a", None, "é"]).cast(prompt_type)
    images = pa.array([png()] * 3, image_type)
    pq.write_table(pa.table({"prompt": prompts, "image": images}), folder / "x.parquet")
    source = {"kind": "parquet", "path": str(folder / "x.parquet")}
    check_sources(recipe(**source))
    found = rows(**source)
    assert [row.values["prompt"] for row in found] == ["a", None, "é"]
    assert faults(found) == [None, "source:missing_value", None]


def test_invalid_utf8_in_a_parquet_column_is_one_rows_fault(folder: Path):
    raw = pa.array([b"good", b"bad \xff\xfe", b"good again"], pa.binary())
    prompts = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    table = pa.table({"prompt": prompts, "image": pa.array([png()] * 3), "note": prompts})
    pq.write_table(table, folder / "x.parquet")
    found = rows(kind="parquet", path=str(folder / "x.parquet"), keep=("note",))
    assert faults(found) == [None, "text:invalid_utf8", None]
    assert json.loads(found[1].metadata_json or "")["note"].startswith("bad ")
    assert [row.values["prompt"] for row in found[::2]] == ["good", "good again"]


def test_an_imagefolder_is_read_the_way_datasets_reads_it(folder: Path):
    line = {"file_name": "a.png", "prompt": "one"}
    write_jsonl(folder / "metadata.jsonl", line)
    check_sources(recipe(kind="imagefolder", path=str(folder)))
    (row,) = rows(kind="imagefolder", path=str(folder))
    assert picture(row).path == os.path.realpath(folder / "a.png")
    edit = {
        "source_image_file_name": "a.png",
        "edited_image_file_name": "b.png",
        "instruction": "make it blue",
    }
    write_jsonl(folder / "metadata.jsonl", edit)
    needed = ("source_image", "edited_image", "instruction")
    (row,) = rows(needed, kind="imagefolder", path=str(folder))
    assert picture(row, "edited_image").path == os.path.realpath(folder / "b.png")


def test_a_saved_dataset_gives_its_stored_bytes(folder: Path):
    datasets = pytest.importorskip("datasets")
    images = [{"bytes": png(colour), "path": None} for colour in ("red", "blue")]
    data = {"prompt": ["one", "two"], "image": images}
    features = datasets.Features(prompt=datasets.Value("string"), image=datasets.Image())
    saved = datasets.Dataset.from_dict(data, features=features)
    saved.save_to_disk(str(folder / "one"))
    datasets.DatasetDict(train=saved, test=saved).save_to_disk(str(folder / "many"))
    for place in ("one", "many"):
        source = {"kind": "datasets", "path": str(folder / place)}
        check_sources(recipe(**source))
        found = rows(**source)
        assert [picture(row).data for row in found] == [png("red"), png("blue")]
        assert count_rows(Source(**source)) == 2
    with pytest.raises(SourceError, match="no split 'dev'"):
        check_sources(recipe(kind="datasets", path=str(folder / "many"), split="dev"))
    with pytest.raises(SourceError, match="kind: parquet"):
        check_sources(recipe(kind="datasets", path=str(folder)))


def test_a_streamed_dataset_gives_its_stored_bytes(folder: Path, monkeypatch: pytest.MonkeyPatch):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(prompt=datasets.Value("string"), image=datasets.Image())
    data = {
        "prompt": ["one", "two"],
        "image": [{"bytes": png(), "path": "x"}, {"bytes": None, "path": "https://e.org/x.png"}],
    }
    table = pa.table(data, schema=features.arrow_schema)
    (folder / "hub").mkdir()
    pq.write_table(table, folder / "hub" / "x.parquet")
    # The Hub cannot be reached from a test: its loader is given the same dataset from here.
    real, asked = datasets.load_dataset, []

    def load_dataset(path: str, *args: Any, **options: Any) -> Any:
        asked.append(options)
        files = str(folder / "hub" / "x.parquet")
        return real("parquet", data_files=files, split="train", streaming=options["streaming"])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    source = {"kind": "datasets", "path": "someone/something", "revision": "abc"}
    check_sources(recipe(**source))
    found = rows(**source)
    assert picture(found[0]).data == png()
    assert faults(found) == [None, "picture:remote_not_allowed"]
    assert asked[0]["streaming"] is True
    assert asked[0]["revision"] == "abc"


def test_every_fault_of_a_text_is_one_rows_reason(folder: Path):
    values = ["fine", "", " \n", "a\0b", None, 5, ["x"], "\ud800"]
    lines: list[Any] = [{"prompt": value, "image": "a.png"} for value in values]
    lines += [{"image": "a.png"}, b'{"prompt": "caf\xe9", "image": "a.png"}']
    found = rows(kind="jsonl", path=write_jsonl(folder / "x.jsonl", *lines))
    assert faults(found) == [
        None,
        "text:empty",
        "text:empty",
        "text:nul",
        "source:missing_value",
        "text:not_text",
        "text:not_text",
        "text:invalid_utf8",
        "source:missing_value",
        "text:invalid_utf8",
    ]
    assert all(picture(row).path for row in found)


def test_lines_that_are_no_json_objects_are_their_own_faults(folder: Path):
    good = {"prompt": "p", "image": "a.png"}
    lines = [good, b"{broken", b"[1]", b"7", b"", b"[" * 100_000, b"\xff\xfe\x00", good]
    path = write_jsonl(folder / "x.jsonl", *lines)
    found = rows(kind="jsonl", path=path)
    assert faults(found) == [None, *["source:not_json"] * 5, None]
    assert len({row.raw_sha256 for row in found[1:6]}) == 5
    assert "line 2" in (found[1].fault or ("", ""))[1]
    assert count_rows(Source(kind="jsonl", path=path)) == 7


def test_a_line_without_an_end_does_not_fill_the_memory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("pipelines.source_files.MAX_LINE_BYTES", 1000)
    good = {"prompt": "p", "image": "a.png"}
    path = write_jsonl(folder / "x.jsonl", good, b"x" * 5_000_000, good)
    assert faults(rows(kind="jsonl", path=path)) == [None, "source:not_json", None]


def test_a_byte_order_mark_is_no_fault(folder: Path):
    line = b'\xef\xbb\xbf{"prompt": "p", "image": "a.png"}'
    assert faults(rows(kind="jsonl", path=write_jsonl(folder / "x.jsonl", line))) == [None]


def test_paths_that_leave_the_image_root_are_refused(folder: Path, tmp_path_factory: Any):
    outside = tmp_path_factory.mktemp("outside") / "secret.png"
    outside.write_bytes(png())
    (folder / "link.png").symlink_to(outside)
    (folder / "linked").symlink_to(outside.parent)
    (folder / "inner.png").symlink_to(folder / "a.png")
    up = os.path.relpath(outside, folder)
    values = [str(outside), up, "link.png", "linked/secret.png", "x/../../up.png", "."]
    lines = [{"prompt": "p", "image": value} for value in [*values, "inner.png", "x/../a.png"]]
    found = rows(kind="jsonl", path=write_jsonl(folder / "x.jsonl", *lines))
    assert faults(found) == [*["picture:outside_root"] * 6, None, None]
    assert picture(found[0]).path is None


def test_a_sibling_folder_with_the_same_beginning_is_outside(tmp_path: Path):
    for name in ("root", "root2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(png())
    path = write_jsonl(tmp_path / "root" / "x.jsonl", {"prompt": "p", "image": "../root2/a.png"})
    assert faults(rows(kind="jsonl", path=path)) == ["picture:outside_root"]


def test_urls_are_refused_and_the_network_is_never_touched(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    def no_network(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    urls = ["http://e.org/a.png", "HTTPS://e.org/a.png", "ftp://e.org/a", "file:///etc/passwd"]
    lines = [{"prompt": "p", "image": {"path": url, "bytes": None}} for url in urls]
    lines += [{"prompt": "p", "image": url} for url in urls]
    path = write_jsonl(folder / "x.jsonl", *lines)
    assert set(faults(rows(kind="jsonl", path=path))) == {"picture:remote_not_allowed"}
    allowed = rows(kind="jsonl", path=path, allow_http=True)
    assert faults(allowed)[4:] == [None, None, *["picture:remote_not_allowed"] * 2]
    assert picture(allowed[4]).url == "http://e.org/a.png"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "picture:empty"),
        ({"bytes": b"", "path": "a.png"}, "picture:empty"),
        ({"bytes": None, "path": None}, "source:missing_value"),
        (None, "source:missing_value"),
        ("", "picture:missing"),
        ("a\0b.png", "picture:missing"),
        ("caf\udce9.png", "picture:missing"),
        (12, "picture:not_a_picture"),
        (["a.png"], "picture:not_a_picture"),
        ("data:image/png;base64,###", "picture:not_a_picture"),
        ("data:text/plain,hello", "picture:not_a_picture"),
    ],
)
def test_a_value_that_is_no_picture_has_a_reason(tmp_path: Path, value: Any, reason: str):
    with pytest.raises(PictureRejected) as caught:
        read_reference(value, root=os.path.realpath(tmp_path), allow_http=False)
    assert caught.value.reason == reason


@given(st.text() | st.binary() | st.none() | st.integers() | st.dictionaries(st.text(), st.text()))
def test_any_value_is_a_reference_or_a_reason(value: Any):
    try:
        ref = read_reference(value, root="/nowhere", allow_http=True)
    except PictureRejected as error:
        reason, ref = error.reason, None
    else:
        reason = None
    if ref is None:
        assert reason is not None
        assert reason.startswith(("picture:", "source:"))
        return
    assert sum(part is not None for part in (ref.path, ref.data, ref.url)) == 1
    assert ref.path is None or ref.path.startswith("/nowhere/")


def parquet(folder: Path, **columns: Any) -> dict[str, str]:
    pq.write_table(pa.table(columns), folder / "x.parquet")
    return {"kind": "parquet", "path": str(folder / "x.parquet")}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"prompt": ["a"]}, "x.parquet: no column 'image'; there are ['prompt']"),
        ({"prompt": [1], "image": ["a"]}, "x.parquet: column 'prompt' is int64"),
        ({"prompt": ["a"], "image": [[1]]}, "x.parquet: column 'image' is list"),
        ({"prompt": ["a"], "image": [1.5]}, "x.parquet: column 'image' is double"),
        ({"prompt": ["a"][:0], "image": ["a"][:0]}, "x.parquet"),
    ],
)
def test_a_wrong_parquet_file_is_named_with_its_column(
    folder: Path, columns: dict[str, Any], message: str
):
    with pytest.raises(SourceError) as caught:
        check_sources(recipe(**parquet(folder, **columns)))
    assert message in str(caught.value)


def test_an_empty_source_is_refused(folder: Path):
    text = pa.array([], pa.string())
    with pytest.raises(SourceError, match="no rows"):
        check_sources(recipe(**parquet(folder, prompt=text, image=text)))
    (folder / "x.jsonl").write_bytes(b"\n \n")
    with pytest.raises(SourceError, match="no rows"):
        check_sources(recipe(kind="jsonl", path=str(folder / "x.jsonl")))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"prompt": "a"}, "no column 'image'"),
        ({"prompt": 1, "image": "a"}, "column 'prompt' is int, not text"),
        ({"prompt": "a", "image": 5}, "column 'image' is int, not text"),
        (b"\x89PNG\r\nnot text at all", "not JSON lines"),
    ],
)
def test_a_wrong_json_lines_file_is_named_with_its_column(folder: Path, line: Any, message: str):
    path = write_jsonl(folder / "x.jsonl", line)
    with pytest.raises(SourceError) as caught:
        check_sources(recipe(kind="jsonl", path=path))
    assert message in str(caught.value)
    assert "x.jsonl" in str(caught.value)


def test_every_file_of_a_source_is_checked(folder: Path):
    write_jsonl(folder / "1.jsonl", {"prompt": "p", "image": "a.png"})
    write_jsonl(folder / "2.jsonl", {"promt": "p", "image": "a.png"})
    with pytest.raises(SourceError, match=r"2\.jsonl: no column 'prompt'"):
        check_sources(recipe(kind="jsonl", path=str(folder)))


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "imagefolder", "datasets"])
def test_a_missing_file_is_named(folder: Path, kind: str):
    with pytest.raises(SourceError, match="nowhere"):
        check_sources(recipe(kind=kind, path=str(folder / "nowhere")))


def test_what_is_missing_besides_columns_is_named_too(folder: Path):
    path = write_jsonl(folder / "x.jsonl", {"prompt": "p", "image": "a.png"})
    with pytest.raises(SourceError, match="image_root is not a folder"):
        check_sources(recipe(kind="jsonl", path=path, image_root=str(folder / "gone")))
    with pytest.raises(SourceError, match="no column 'weight'"):
        check_sources(recipe(kind="jsonl", path=path, keep=["weight"]))
    (folder / "x.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(SourceError, match="not a readable Parquet file"):
        check_sources(recipe(kind="parquet", path=str(folder / "x.parquet")))


def test_a_column_of_an_edit_recipe_is_missed_by_name(folder: Path):
    line = {"source_image": "a.png", "instruction": "x"}
    path = write_jsonl(folder / "x.jsonl", line)
    data = {"output": "b", "endpoints": {"judge": ENDPOINT}}
    edit = EditRecipe.model_validate({**data, "sources": {"kind": "jsonl", "path": path}})
    with pytest.raises(SourceError, match="no column 'edited_image'"):
        check_sources(edit)


def test_a_url_that_is_no_ascii_and_a_column_nested_too_deep_are_faults_of_their_rows(tmp_path):
    deep = "[" * 3000 + "]" * 3000
    lines = [
        b'{"prompt": "p", "image": "http://e.org/caf\xe9.png", "more": 1}',
        b'{"prompt": "p", "image": "a.png", "more": ' + deep.encode() + b"}",
        b'{"prompt": "p", "image": "a.png", "more": 2}',
    ]
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\n".join(lines))
    found = rows(kind="jsonl", path=str(path), allow_http=True, keep=("more",))
    assert [row.fault is None for row in found] == [False, False, True]


@pytest.mark.parametrize(
    ("path", "own"),
    [
        ("hf://datasets/org/name@abc/img/1.png", True),
        ("zip://img/1.png::hf://datasets/org/name@abc/part.zip", True),
        ("/srv/private.png::hf://datasets/org/name@abc/x", False),
        ("/dev/zero::hf://x", False),
        ("http://10.0.0.1/x::hf://datasets/org/name@abc/x", False),
        ("hf://datasets/org/other@abc/1.png", False),
        ("hf://datasets/org/name-private@abc/1.png", False),
        ("hf://datasets/org/name@abc/../../other/1.png", False),
        ("file:///etc/passwd", False),
    ],
)
def test_a_streamed_row_opens_files_of_its_own_repository_alone(path, own):
    assert is_own_file(path, "org/name") == own
