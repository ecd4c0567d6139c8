"""Ingest: from sources to `rows/`, with pictures learnt once by processes that may die."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipelines.ingest import IngestSummary, ingest, read_rows
from pipelines.picture_pool import PicturePool
from pipelines.picture_refs import PictureRef, read_reference
from pipelines.picture_worker import Workplace
from pipelines.pictures import PictureLimits
from pipelines.recipe import EditRecipe, GenRecipe, Recipe
from pipelines.rows import place_row
from pipelines.shards import read_manifest, shard_paths
from pipelines.sources import SourceError

ENDPOINT = {"url": "http://127.0.0.1:1/v1", "model": "none"}
LIMITS = {"max_side_px": 64, "workers": 2}


def encoded(image: Image.Image, format: str = "PNG") -> bytes:
    out = io.BytesIO()
    image.save(out, format)
    return out.getvalue()


def png(colour: Any = "red", side: int = 8) -> bytes:
    return encoded(Image.new("RGB", (side, side), colour))


def gen_recipe(path: Path, **images: Any) -> GenRecipe:
    source = {"kind": "jsonl" if path.suffix == ".jsonl" else "parquet", "path": str(path)}
    endpoints = {"planner": ENDPOINT, "judge": ENDPOINT}
    data = {"output": "b", "sources": source, "endpoints": endpoints, "images": LIMITS | images}
    return GenRecipe.model_validate(data)


def edit_recipe(path: Path) -> EditRecipe:
    source = {"kind": "jsonl", "path": str(path)}
    data = {"output": "b", "sources": source, "endpoints": {"judge": ENDPOINT}, "images": LIMITS}
    return EditRecipe.model_validate(data)


def run(recipe: Recipe, build: Path, *, n_buckets: int = 3, share: float = 0.3) -> IngestSummary:
    return ingest(recipe, build, n_buckets=n_buckets, validation_share=share)


def all_rows(build: Path, n_buckets: int = 3) -> list[dict[str, Any]]:
    rows = [row | {"bucket": b} for b in range(n_buckets) for row in read_rows(build, b)]
    return sorted(rows, key=lambda row: row["source_index"])


def write_jsonl(path: Path, lines: list[Any]) -> Path:
    raw = [x if isinstance(x, bytes) else json.dumps(x).encode() for x in lines]
    path.write_bytes(b"".join(line + b"\n" for line in raw))
    return path


def shard_bytes(build: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted((build / "rows").iterdir()) if p.is_file()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "red.png").write_bytes(png("red"))
    (tmp_path / "blue.png").write_bytes(png("blue"))
    (tmp_path / "large.jpg").write_bytes(encoded(Image.new("RGB", (200, 100), "green"), "JPEG"))
    (tmp_path / "clear.png").write_bytes(encoded(Image.new("RGBA", (9, 9), (0, 0, 0, 0))))
    return tmp_path


def test_each_bad_row_is_rejected_with_its_reason_and_the_rest_goes_on(folder: Path):
    (folder / "empty.png").write_bytes(b"")
    (folder / "page.png").write_bytes(b"<html></html>")
    noise = encoded(Image.effect_noise((90, 90), 90).convert("RGB"))
    (folder / "cut.png").write_bytes(noise[: len(noise) // 2])
    (folder / "strip.png").write_bytes(encoded(Image.new("RGB", (500, 2))))
    (folder / "link.png").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe.png")
    expected = {
        "red.png": None,
        "gone.png": "picture:missing",
        "empty.png": "picture:empty",
        "page.png": "picture:not_a_picture",
        "cut.png": "picture:truncated",
        "strip.png": "picture:aspect_ratio",
        "link.png": "picture:outside_root",
        "../up.png": "picture:outside_root",
        "https://e.org/a.png": "picture:remote_not_allowed",
        "pipe.png": "picture:missing",
        "large.jpg": None,
    }
    lines: list[Any] = [{"prompt": f"of {name}", "image": name} for name in expected]
    lines += [
        b"not json",
        {"prompt": "", "image": "red.png"},
        {"prompt": "a\0", "image": "red.png"},
    ]
    lines += [b'{"prompt": "caf\xe9", "image": "red.png"}', {"prompt": "last", "image": "blue.png"}]
    summary = run(gen_recipe(write_jsonl(folder / "x.jsonl", lines)), folder / "build")
    rows = all_rows(folder / "build")
    reasons = [*expected.values(), "source:not_json", "text:empty", "text:nul"]
    assert [row["reason"] for row in rows] == [*reasons, "text:invalid_utf8", None]
    assert summary.rows == len(rows) == len({row["row_id"] for row in rows})
    assert summary.by_status == {"ok": 3, "rejected": len(rows) - 3}
    assert summary.by_reason == dict(Counter(filter(None, (row["reason"] for row in rows))))
    for row in rows:
        assert row["status"] == ("ok" if row["reason"] is None else "rejected")
        assert (row["image"] is None) == (row["status"] == "rejected")
        assert bool(row["detail"]) == (row["status"] == "rejected")
    assert rows[1]["prompt"] == "of gone.png"
    assert rows[14]["prompt"] == "caf?"


def test_a_row_says_what_its_picture_is_and_what_the_model_sees(folder: Path):
    lines = [{"prompt": n, "image": n} for n in ("red.png", "large.jpg", "clear.png")]
    run(gen_recipe(write_jsonl(folder / "x.jsonl", lines)), folder / "build")
    red, large, clear = (row["image"] for row in all_rows(folder / "build"))
    assert red["path"] == red["seen_path"] == str((folder / "red.png").resolve())
    assert red["sha256"] == red["seen_sha256"]
    assert (large["format"], large["width"], large["seen_width"]) == ("JPEG", 200, 64)
    assert large["notes"] == ["scaled"]
    with Image.open(large["seen_path"]) as seen:
        assert seen.size == (64, 32) == (large["seen_width"], large["seen_height"])
    assert clear["mode"] == "RGBA"
    with Image.open(clear["seen_path"]) as seen:
        assert seen.getpixel((4, 4)) == (255, 255, 255)
    assert all_rows(folder / "build")[1]["notes"] == ["image:scaled"]
    assert len(red["phash"]) == 64


def test_pictures_inside_rows_are_kept_untouched_under_the_build(folder: Path):
    data = [png("red"), encoded(Image.new("RGB", (200, 100)), "WEBP")]
    table = pa.table({"prompt": ["a", "b", "c"], "image": [*data, data[0]]})
    pq.write_table(table, folder / "x.parquet")
    summary = run(gen_recipe(folder / "x.parquet"), folder / "build")
    assert summary.pictures_learnt == 2
    rows = all_rows(folder / "build")
    for row, original in zip(rows, [*data, data[0]], strict=True):
        assert Path(row["image"]["path"]).read_bytes() == original
        assert (folder / "build" / "pictures" / "originals") in Path(row["image"]["path"]).parents
    assert rows[1]["image"]["path"].endswith(".webp")
    assert run(gen_recipe(folder / "x.parquet"), folder / "build").pictures_learnt == 0
    Path(rows[0]["image"]["path"]).write_bytes(b"cut")
    assert run(gen_recipe(folder / "x.parquet"), folder / "build").pictures_learnt == 1
    assert Path(rows[0]["image"]["path"]).read_bytes() == data[0]


def test_the_same_sources_give_the_same_bytes(folder: Path):
    lines = [{"prompt": f"p{i % 7}", "image": ("red.png", "large.jpg")[i % 2]} for i in range(40)]
    recipe = gen_recipe(write_jsonl(folder / "x.jsonl", lines))
    run(recipe, folder / "build")
    first = shard_bytes(folder / "build")
    shutil.rmtree(folder / "build")
    run(recipe, folder / "build")
    assert shard_bytes(folder / "build") == first
    assert len(first) == 6


def test_a_second_run_learns_nothing_and_rewrites_nothing(folder: Path):
    lines = [{"prompt": n, "image": n} for n in ("red.png", "large.jpg", "gone.png")]
    recipe = gen_recipe(write_jsonl(folder / "x.jsonl", lines))
    assert run(recipe, folder / "build").pictures_learnt == 2
    times = {p: p.stat().st_mtime_ns for p in (folder / "build" / "rows").iterdir()}
    again = run(recipe, folder / "build")
    assert again.pictures_learnt == 0
    assert again.by_status == {"ok": 2, "rejected": 1}
    assert {p: p.stat().st_mtime_ns for p in (folder / "build" / "rows").iterdir()} == times
    assert len(shard_paths(folder / "build" / "pictures")) == 1


def test_a_damaged_shard_is_written_again(folder: Path):
    recipe = gen_recipe(write_jsonl(folder / "x.jsonl", [{"prompt": "p", "image": "red.png"}]))
    run(recipe, folder / "build", n_buckets=1)
    shard = folder / "build" / "rows" / "00000.parquet"
    good = shard.read_bytes()
    shard.write_bytes(good[:-30] + b"x" * 30)
    run(recipe, folder / "build", n_buckets=1)
    assert shard.read_bytes() == good
    shard.with_suffix(".json").write_text("{}")
    run(recipe, folder / "build", n_buckets=1)
    assert read_manifest(shard)["rows"] == 1


def test_a_changed_picture_and_a_lost_prepared_one_are_learnt_again(folder: Path):
    red, yellow = (encoded(Image.new("RGB", (8, 8), c), "BMP") for c in ("red", "yellow"))
    assert len(red) == len(yellow)
    (folder / "red.png").write_bytes(red)
    lines = [{"prompt": n, "image": n} for n in ("red.png", "large.jpg")]
    recipe = gen_recipe(write_jsonl(folder / "x.jsonl", lines))
    run(recipe, folder / "build")
    before = all_rows(folder / "build")
    seen = Path(before[1]["image"]["seen_path"])
    seen.write_bytes(seen.read_bytes()[:-1])
    assert run(recipe, folder / "build").pictures_learnt == 1
    seen.unlink()
    assert run(recipe, folder / "build").pictures_learnt == 1
    assert all_rows(folder / "build") == before
    (folder / "red.png").write_bytes(yellow)
    assert run(recipe, folder / "build").pictures_learnt == 1
    after = all_rows(folder / "build")
    assert after[0]["row_id"] != before[0]["row_id"]
    assert after[1] == before[1]


def test_other_limits_prepare_anew_and_the_row_keeps_its_id(folder: Path):
    path = write_jsonl(folder / "x.jsonl", [{"prompt": "p", "image": "large.jpg"}])
    run(gen_recipe(path), folder / "build")
    (before,) = all_rows(folder / "build")
    assert run(gen_recipe(path, max_side_px=32), folder / "build").pictures_learnt == 1
    (after,) = all_rows(folder / "build")
    assert after["row_id"] == before["row_id"]
    assert after["image"]["seen_width"] == 32
    assert after["image"]["seen_path"] != before["image"]["seen_path"]


def test_a_repeated_row_points_at_the_first(folder: Path):
    (folder / "copy.png").write_bytes(png("red"))
    names = ["red.png", "blue.png", "red.png", "copy.png", "gone.png", "gone.png"]
    lines = [{"prompt": "p", "image": name} for name in names]
    lines.append({"prompt": "another", "image": "red.png"})
    summary = run(gen_recipe(write_jsonl(folder / "x.jsonl", lines)), folder / "build")
    rows = all_rows(folder / "build")
    statuses = [row["status"] for row in rows]
    assert statuses == ["ok", "ok", "duplicate", "duplicate", "rejected", "rejected", "ok"]
    assert rows[2]["duplicate_of"] == rows[3]["duplicate_of"] == rows[0]["row_id"]
    assert len({row["row_id"] for row in rows}) == 7
    assert {row["duplicate_of"] for row in rows if row["status"] != "duplicate"} == {None}
    assert summary.by_status == {"duplicate": 2, "ok": 3, "rejected": 2}


def test_rows_with_one_prompt_share_bucket_and_split(folder: Path):
    lines = [{"prompt": f"p{i % 25}", "image": "red.png"} for i in range(100)]
    run(gen_recipe(write_jsonl(folder / "x.jsonl", lines)), folder / "build")
    rows = all_rows(folder / "build")
    places = {(row["prompt"], row["bucket"], row["split"]) for row in rows}
    assert len(places) == 25
    assert {row["bucket"] for row in rows} == {0, 1, 2}
    assert {row["split"] for row in rows} == {"train", "validation"}


def test_edits_of_one_source_picture_share_bucket_and_split_whatever_it_is_called(folder: Path):
    lines = []
    for i in range(12):
        for copy in ("a", "b"):
            (folder / f"{copy}{i}.png").write_bytes(png((i, 0, 0)))
            names = {"source_image": f"{copy}{i}.png", "edited_image": "blue.png"}
            lines.append({**names, "instruction": f"make it blue, {copy}"})
    lines.append({"source_image": "gone.png", "edited_image": "red.png", "instruction": "x"})
    lines.append({"source_image": "red.png", "edited_image": "gone.png", "instruction": "x"})
    run(edit_recipe(write_jsonl(folder / "x.jsonl", lines)), folder / "build")
    rows = all_rows(folder / "build")
    ok = [row for row in rows if row["status"] == "ok"]
    assert len(ok) == 24
    places = {(row["source_image"]["sha256"], row["bucket"], row["split"]) for row in ok}
    assert len(places) == 12
    assert rows[24]["detail"].startswith("source_image: ")
    assert rows[25]["detail"].startswith("edited_image: ")
    assert rows[25]["source_image"] is None


def test_splits_have_about_the_share_asked_for():
    splits = Counter(place_row(f"prompt {i}", 10, 0.1)[1] for i in range(5000))
    assert 400 < splits["validation"] < 600
    assert place_row("p", 1, 0.0) == (0, "train")


def test_added_rows_leave_earlier_ids_and_other_buckets_alone(folder: Path):
    lines = [{"prompt": f"p{i}", "image": "red.png"} for i in range(20)]
    path = write_jsonl(folder / "x.jsonl", lines)
    run(gen_recipe(path), folder / "build")
    before, shards = all_rows(folder / "build"), shard_bytes(folder / "build")
    write_jsonl(path, [*lines, {"prompt": "p0", "image": "blue.png"}])
    run(gen_recipe(path), folder / "build")
    after = all_rows(folder / "build")
    assert after[:20] == before
    changed = {name for name, data in shard_bytes(folder / "build").items() if shards[name] != data}
    assert changed == {f"{before[0]['bucket']:05d}.{end}" for end in ("parquet", "json")}


def test_fewer_buckets_leave_no_shard_behind(folder: Path):
    lines = [{"prompt": f"p{i}", "image": "red.png"} for i in range(20)]
    recipe = gen_recipe(write_jsonl(folder / "x.jsonl", lines))
    run(recipe, folder / "build", n_buckets=5)
    run(recipe, folder / "build", n_buckets=2)
    names = [f"{i:05d}.{end}" for i in (0, 1) for end in ("json", "parquet")]
    assert sorted(p.name for p in (folder / "build" / "rows").iterdir()) == names
    assert len(all_rows(folder / "build", 2)) == 20


def test_kept_columns_ids_and_the_licence_reach_the_rows(folder: Path):
    path = write_jsonl(folder / "x.jsonl", [{"prompt": "p", "image": "red.png", "id": 5, "w": 2}])
    recipe = gen_recipe(path)
    recipe = recipe.model_copy(
        update={
            "sources": (
                recipe.sources[0].model_copy(
                    update={"keep": ("w",), "name": "mine", "license": "cc0-1.0"}
                ),
            )
        }
    )
    run(recipe, folder / "build")
    (row,) = all_rows(folder / "build")
    assert (row["source"], row["source_id"], row["metadata"]) == ("mine", "5", '{"w": 2}')
    assert row["license"] == "cc0-1.0"


def test_progress_is_told_and_ends_at_the_total(folder: Path):
    lines = [{"prompt": f"p{i}", "image": "red.png"} for i in range(30)]
    told: list[tuple[int, int | None]] = []
    ingest(
        gen_recipe(write_jsonl(folder / "x.jsonl", lines)),
        folder / "build",
        n_buckets=2,
        validation_share=0.1,
        total=30,
        on_progress=lambda done, total: told.append((done, total)),
    )
    assert told[-1] == (30, 30)


def test_a_source_damaged_midway_stops_the_run_with_its_name(folder: Path):
    images = [png((i, 0, 0)) for i in range(200)]
    table = pa.table({"prompt": [f"p{i}" for i in range(200)], "image": images})
    pq.write_table(table, folder / "x.parquet", row_group_size=50, write_page_checksum=True)
    data = bytearray((folder / "x.parquet").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = b"\xff" * 2000
    (folder / "x.parquet").write_bytes(bytes(data))
    with pytest.raises(SourceError, match=r"x\.parquet: damaged"):
        run(gen_recipe(folder / "x.parquet"), folder / "build")


def test_a_build_folder_that_cannot_be_written_stops_the_run(folder: Path):
    recipe = gen_recipe(write_jsonl(folder / "x.jsonl", [{"prompt": "p", "image": "large.jpg"}]))
    (folder / "build" / "pictures").mkdir(parents=True)
    (folder / "build" / "pictures" / "seen").write_text("in the way")
    with pytest.raises(OSError, match="seen"):
        run(recipe, folder / "build")


# Workers that die.


@pytest.fixture
def slow_picture(tmp_path: Path) -> PictureRef:
    """A picture that takes a good part of a second to prepare."""
    path = tmp_path / "slow.png"
    path.write_bytes(encoded(Image.new("RGBA", (7000, 7000), (9, 9, 9, 9))))
    return read_reference("slow.png", root=os.path.realpath(tmp_path), allow_http=False)


def workplace(folder: Path) -> Workplace:
    return Workplace(build_dir=str(folder / "build"), limits=PictureLimits())


def test_a_picture_whose_worker_is_killed_once_is_tried_again(folder: Path):
    ref = read_reference("red.png", root=os.path.realpath(folder), allow_http=False)
    with PicturePool(workplace(folder), workers=1) as pool:
        assert pool.learn(ref).result().facts
        (pid,) = pool.worker_pids()
        os.kill(pid, signal.SIGSTOP)
        waiting = pool.learn(ref)
        time.sleep(0.2)
        os.kill(pid, signal.SIGKILL)
        assert waiting.result(timeout=60).facts
        assert pool.worker_pids() != [pid]


def test_a_picture_that_kills_every_worker_is_rejected_and_costs_no_other(
    folder: Path, slow_picture: PictureRef
):
    red = read_reference("red.png", root=os.path.realpath(folder), allow_http=False)
    with PicturePool(workplace(folder), workers=1) as pool:
        done = threading.Event()

        def kill_whoever_works() -> None:
            # Whoever has read the whole file is busy with the slow picture, and no other is asked.
            while not done.wait(0.01):
                for pid in pool.worker_pids():
                    if resident_bytes(pid) > 150e6:
                        os.kill(pid, signal.SIGKILL)

        killer = threading.Thread(target=kill_whoever_works)
        killer.start()
        slow, good = pool.learn(slow_picture), pool.learn(red)
        result = slow.result(timeout=60)
        done.set()
        killer.join()
        assert result.reason == "picture:crashed_decoder"
        assert "signal 9" in result.detail
        assert good.result(timeout=60).facts


def resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def test_a_worker_that_never_answers_is_replaced(folder: Path):
    ref = read_reference("red.png", root=os.path.realpath(folder), allow_http=False)
    with PicturePool(workplace(folder), workers=1, timeout_s=1.0) as pool:
        assert pool.learn(ref).result().facts
        os.kill(pool.worker_pids()[0], signal.SIGSTOP)
        assert pool.learn(ref).result(timeout=60).facts


def test_a_run_that_fails_does_not_finish_the_pictures_in_work(
    folder: Path, slow_picture: PictureRef
):
    pool = PicturePool(workplace(folder), workers=1)
    futures = [pool.learn(slow_picture) for _ in range(20)]

    def interrupted() -> None:
        with pool:
            wait_until(pool.worker_pids)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert pool.worker_pids() == []
    assert sum(future.cancelled() for future in futures) == 19


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def wait_until(condition: Any, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


PARENT = """
import sys
from pipelines.picture_pool import PicturePool
from pipelines.picture_refs import PictureRef
from pipelines.picture_worker import Workplace
from pipelines.pictures import PictureLimits

place = Workplace(build_dir=sys.argv[1], limits=PictureLimits(), allow_http=True)
pool = PicturePool(place, workers=2)
futures = [pool.learn(PictureRef(raw_sha256="", url=sys.argv[2])) for _ in range(2)]
while len(pool.worker_pids()) < 2:
    pass
print(*pool.worker_pids(), flush=True)
futures[0].result()
"""


def test_workers_end_with_a_parent_that_is_killed_even_in_the_midst_of_a_picture(folder: Path):
    # A server that takes the request and says nothing: a worker would wait for half a minute.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/a.png"
        command = [sys.executable, "-c", PARENT, str(folder / "build"), url]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as parent:
            assert parent.stdout is not None
            pids = [int(pid) for pid in parent.stdout.readline().split()]
            asking = [silent.accept()[0] for _ in pids]
            assert all(is_running(pid) for pid in pids)
            parent.kill()
        wait_until(lambda: not any(is_running(pid) for pid in pids), seconds=5)
        for connection in asking:
            connection.close()


def test_pictures_learnt_before_a_kill_are_not_learnt_again(folder: Path):
    for i in range(1300):
        (folder / f"n{i}.png").write_bytes(png((i % 256, i // 256, 7)))
    lines = [{"prompt": f"p{i}", "image": f"n{i}.png"} for i in range(1300)]
    recipe = gen_recipe(write_jsonl(folder / "x.jsonl", lines))
    script = (
        "import sys; from pathlib import Path; from pipelines.recipe import GenRecipe; "
        "from pipelines.ingest import ingest; "
        "ingest(GenRecipe.model_validate_json(sys.argv[1]), Path(sys.argv[2]), n_buckets=3, "
        "validation_share=0.1)"
    )
    root = str(Path(__file__).resolve().parent.parent)
    build = folder / "build"
    with subprocess.Popen(
        [sys.executable, "-c", script, recipe.model_dump_json(), str(build)],
        env=os.environ | {"PYTHONPATH": root},
    ) as process:
        wait_until(lambda: shard_paths(build / "pictures"), seconds=60)
        process.kill()
    assert shard_paths(build / "rows") == []
    learnt = sum(read_manifest(p)["rows"] for p in shard_paths(build / "pictures"))
    summary = run(recipe, build)
    assert summary.by_status == {"ok": 1300}
    assert summary.pictures_learnt == 1300 - learnt
    assert 500 <= learnt < 1300


# Downloads.


class _Pictures(BaseHTTPRequestHandler):
    """`/ok.png`, `/huge.png`, `/away` (to a file), `/busy.png` (503 once), anything else 404."""

    def __init__(self, asked: list[str], *args: Any) -> None:
        self.asked = asked
        super().__init__(*args)

    def do_GET(self) -> None:
        self.asked.append(self.path)
        first = self.asked.count(self.path) == 1
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "file:///etc/passwd")
            self.end_headers()
        elif self.path == "/ok.png" or (self.path == "/busy.png" and not first):
            self._send(png("red"))
        elif self.path == "/huge.png":
            self._send(png("red") + b"\0" * 100_000)
        else:
            self.send_error(503 if self.path == "/busy.png" else 404)

    def _send(self, data: bytes) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Pictures, asked))
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}", asked
    httpd.shutdown()
    httpd.server_close()


def test_allowed_downloads_are_kept_and_bounded(folder: Path, server: tuple[str, list[str]]):
    url, asked = server
    names = ["ok.png", "huge.png", "away", "gone.png", "busy.png"]
    lines = [{"prompt": name, "image": f"{url}/{name}"} for name in names]
    path = write_jsonl(folder / "x.jsonl", lines)
    run(gen_recipe(path), folder / "build")
    assert asked == []
    recipe = gen_recipe(path, allow_http=True, max_bytes=50_000)
    run(recipe, folder / "build")
    rows = all_rows(folder / "build")
    assert [row["reason"] for row in rows] == [
        None,
        "picture:too_large",
        "picture:missing",
        "picture:missing",
        None,
    ]
    assert Path(rows[0]["image"]["path"]).read_bytes() == png("red")
    assert "404" in rows[3]["detail"]
    assert asked.count("/gone.png") == 1
    before = len(asked)
    run(recipe, folder / "build")
    assert "/ok.png" not in asked[before:]
