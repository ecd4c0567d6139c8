"""Publishing: what goes up, what is not sent twice, what is refused, and what nobody may see."""

import json
import logging
import os
import re
import signal
import subprocess
import time
from dataclasses import fields

import datasets
import huggingface_hub.constants
import pyarrow.parquet as pq
import pytest
from hub_server import GIT_ATTRIBUTES, TOKEN, Repo, serve_hub
from huggingface_hub import DatasetCard
from publish_cases import add_findings, change_manifest, finish, finished_build
from real_servers import PYTHON, ROOT, run

from flows.publish_dataset import publish, publish_dataset
from flows.publish_dataset import run as run_command
from pipelines.build import BuildRefused
from pipelines.card.facts import read_facts
from pipelines.dataset_reading import DatasetUnreadable, image_limits, told_limits
from pipelines.law import LawBroken, check_law
from pipelines.pictures import PictureLimits
from pipelines.publish.folder import LicenceForbids, PathsTold, make_folder
from pipelines.publish.hub import PublishFailed, upload

NAME = "me/my-edits"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hub that this process and its children talk to, with a token."""
    with serve_hub() as hub:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        for name, value in environment(hub, tmp_path).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("huggingface_hub.utils._http.time", QuickTime)
        monkeypatch.setattr("pipelines.publish.hub.ATTEMPTS", 2)
        monkeypatch.setattr("pipelines.publish.hub_errors._BACK_OFF", lambda state: 0)
        yield hub


class QuickTime:
    """`time` without the waiting of huggingface_hub's own retries."""

    monotonic = staticmethod(time.monotonic)
    sleep = staticmethod(lambda seconds: None)


def environment(hub, folder):
    return {
        "HF_ENDPOINT": hub.url,
        "HF_TOKEN": TOKEN,
        "HF_HOME": str(folder / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "NO_PROXY": "127.0.0.1,localhost",
    }


def publish_quietly(build, **settings):
    """Publish; returns the address and the lines that a person reads."""
    lines = []
    plain = {"public": False, "tag": None, "dry_run": False}
    plain |= {"allow_noncommercial": False, "allow_paths": False}
    _, _, url = publish(build, NAME, **{**plain, **settings}, say=lines.append)
    return url, lines


def folder_of(build):
    allow = {"allow_noncommercial": False, "allow_paths": False}
    facts = read_facts(build)
    return make_folder(build, facts, repo_id=NAME, tag="v1", **allow, say=lambda _: None)


def command(build, *words, **env):
    words = [PYTHON, "-m", "flows.publish_dataset", str(build), "--repo-id", NAME, *words]
    return run(words, {**os.environ, **env, "PYTHONPATH": str(ROOT)})


def tree(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def published(hub):
    files = dict(hub.repos[NAME].files)
    assert files.pop(".gitattributes") == GIT_ATTRIBUTES
    return files


def load(where, cache, **more):
    return datasets.load_dataset(str(where), cache_dir=str(cache), **more)


# The folder.


@pytest.mark.parametrize("kind", ["gen", "edit"])
def test_a_dry_run_writes_a_folder_that_datasets_opens_and_sends_nothing(hub, tmp_path, kind):
    build = finished_build(tmp_path / "build", kind, files=2)
    add_findings(build)
    url, _ = publish_quietly(build, dry_run=True)
    assert url is None
    assert hub.requests == []
    opened = load(build / "publish", tmp_path / "cache")
    n = {"gen": 1, "edit": 2}[kind]
    assert {split: len(rows) for split, rows in opened.items()} == {
        "train": 4 * n,
        "validation": 2 * n,
    }
    assert opened["train"][0]["image" if kind == "gen" else "edited_image"].size[1] == 16


def test_the_folder_takes_no_disk_for_the_data(hub, tmp_path):
    build = finished_build(tmp_path / "build")
    publish_quietly(build, dry_run=True)
    for path in (build / "dataset").iterdir():
        assert path.samefile(build / "publish/data" / path.name)


def test_where_the_disk_has_no_hard_links_the_data_is_copied(hub, tmp_path, monkeypatch):
    def no_links(*_):
        raise OSError(18, "Invalid cross-device link")

    build = finished_build(tmp_path / "build")
    monkeypatch.setattr(os, "link", no_links)
    publish_quietly(build, dry_run=True)
    assert tree(build / "publish/data") == tree(build / "dataset")


def test_a_folder_that_cannot_be_written_leaves_the_old_one(hub, tmp_path, monkeypatch):
    build = finished_build(tmp_path / "build")
    publish_quietly(build, dry_run=True)
    before = tree(build / "publish")
    monkeypatch.setattr("pipelines.publish.folder.make_card", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        publish_quietly(build, dry_run=True)
    assert tree(build / "publish") == before
    assert not (build / ".publish.new").exists()


# What is refused.


def test_a_build_without_a_manifest_is_refused(hub, tmp_path):
    build = finished_build(tmp_path / "build")
    (build / "manifest.json").unlink()
    with pytest.raises(BuildRefused, match=r"no manifest\.json.*run the build again"):
        publish_quietly(build)


def test_a_build_that_breaks_the_law_is_refused(hub, tmp_path):
    build = finished_build(tmp_path / "build")
    path = next((build / "dataset").glob("train-*"))
    pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(LawBroken, match="1 lost"):
        publish_quietly(build)


@pytest.mark.parametrize("folder", ["dataset", "rows"])
def test_a_damaged_shard_is_named(hub, tmp_path, folder):
    build = finished_build(tmp_path / "build")
    path = next((build / folder).glob("*.parquet"))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DatasetUnreadable, match=re.escape(f"{path} cannot be read: ")):
        publish_quietly(build)


def test_a_dataset_that_is_not_the_manifests_is_refused(hub, tmp_path):
    build = finished_build(tmp_path / "build", files=2)
    change_manifest(build, lambda manifest: manifest["files"].popitem())
    with pytest.raises(BuildRefused, match=r"validation-.*, manifest\.json says"):
        publish_quietly(build)
    finish(build, "gen", rows_per_file=1)
    change_manifest(build, lambda manifest: manifest["law"].update(dataset=5))
    with pytest.raises(BuildRefused, match="run the build again"):
        publish_quietly(build)


def test_pictures_by_reference_are_refused_as_nobody_else_could_open_them(hub, tmp_path):
    build = finished_build(tmp_path / "build")
    change_manifest(build, lambda m: m["recipe"]["images"].update(originals="reference"))
    with pytest.raises(BuildRefused, match=r"set images\.originals: inside"):
        publish_quietly(build)


def test_no_folder_is_made_of_a_mistyped_build(hub, tmp_path):
    with pytest.raises(BuildRefused, match="not a build folder"):
        publish_quietly(tmp_path / "typo")
    assert not (tmp_path / "typo").exists()


# Paths.


@pytest.mark.parametrize(
    ("kind", "path"),
    [("jsonl", "builds/x/rows.jsonl"), ("parquet", "../../home/bob/client-x/*.parquet"),
     ("imagefolder", "client-x"), ("datasets", "./saved"), ("datasets", "a/b/saved"),
     ("jsonl", "/mnt/client-x/rows.jsonl")],
)  # fmt: skip
def test_a_path_in_the_rows_stops_it_and_is_named_unless_told(hub, tmp_path, kind, path):
    build = finished_build(tmp_path / "build", sources=((path, "mit"), ("me/prompts", "mit")))
    sources = [{"kind": kind, "path": path, "name": None}]
    sources += [{"kind": "datasets", "path": "me/prompts", "name": None}]
    change_manifest(build, lambda m: m["recipe"].update(sources=sources))
    cure = r"`name:` in the recipe and run the flow again .*--allow-paths"
    with pytest.raises(PathsTold, match=rf"(?s)\n  {re.escape(path)}\n.*{cure}") as refused:
        publish_quietly(build)
    assert "me/prompts" not in str(refused.value)
    assert not (build / "publish").exists()
    assert hub.requests == []
    publish_quietly(build, allow_paths=True, dry_run=True)
    assert (build / "publish").is_dir()


def test_a_folder_on_disk_is_a_path_and_a_named_source_is_none(hub, tmp_path, monkeypatch):
    build = finished_build(tmp_path / "build", sources=(("me/saved", "mit"),))
    source = {"kind": "datasets", "path": "me/saved", "name": None}
    change_manifest(build, lambda m: m["recipe"].update(sources=[source]))
    monkeypatch.chdir(tmp_path)
    publish_quietly(build, dry_run=True)
    (tmp_path / "me/saved").mkdir(parents=True)
    with pytest.raises(PathsTold, match="me/saved"):
        publish_quietly(build, dry_run=True)
    source |= {"path": "builds/x.jsonl", "name": "me/saved", "kind": "jsonl"}
    change_manifest(build, lambda m: m["recipe"].update(sources=[source]))
    publish_quietly(build, dry_run=True)


def test_the_flags_of_the_command_reach_the_check(hub, tmp_path):
    build = finished_build(tmp_path / "build", sources=(("/mnt/x", "cc-by-nc-4.0"),))
    for words in (("--allow-noncommercial",), ("--allow-paths",)):
        assert command(build, "--dry-run", *words).returncode == 1
    done = command(build, "--dry-run", "--allow-paths", "--allow-noncommercial")
    assert done.returncode == 0, done.stderr


def test_how_the_judge_was_shown_pictures_is_told(hub, tmp_path):
    build = finished_build(tmp_path / "build")
    publish_quietly(build)
    told = json.loads(published(hub)["asked_with/images.json"])
    assert set(told) == {field.name for field in fields(PictureLimits)}
    assert told_limits(build / "publish") == image_limits(build)


# Licences.


def test_a_noncommercial_source_stops_it_and_is_named_unless_told(hub, tmp_path):
    sources = (("free", "cc-by-4.0"), ("students", "cc-by-nc-4.0"))
    build = finished_build(tmp_path / "build", sources=sources)
    with pytest.raises(LicenceForbids, match=r"students: cc-by-nc-4.0, 3 rows") as refused:
        publish_quietly(build)
    assert "free" not in str(refused.value)
    assert not (build / "publish").exists()
    assert hub.requests == []
    publish_quietly(build, allow_noncommercial=True)
    card = published(hub)["README.md"].decode()
    assert "| students | `cc-by-nc-4.0` | non-commercial | 3 |" in card


def test_an_unknown_licence_is_said_in_the_card_and_at_the_terminal(hub, tmp_path):
    build = finished_build(tmp_path / "build", sources=(("free", "mit"), ("found", None)))
    _, lines = publish_quietly(build)
    assert [line for line in lines if line.startswith("warning:")] == [
        "warning: the licence of 3 rows is not known (found), and the card says so; a source's "
        "`license` in the recipe states it"
    ]
    card = published(hub)["README.md"].decode()
    assert "| found | not stated | unknown | 3 |" in card
    assert "**The licence of 3 rows is not known.**" in card


def test_a_licence_that_the_hub_does_not_know_is_warned_of(hub, tmp_path):
    build = finished_build(tmp_path / "build", sources=(("ours", "house-rules-1.0"),))
    _, lines = publish_quietly(build, dry_run=True)
    assert any("licence of 6 rows is not known (ours)" in line for line in lines)


def test_a_build_from_before_licences_and_scores_is_published_without_them(hub, tmp_path):
    build = finished_build(tmp_path / "build")
    for path in (build / "dataset").iterdir():
        pq.write_table(pq.read_table(path).drop_columns("license"), path)
    add_findings(build)
    (build / "audit.json").unlink()
    change_manifest(build, lambda m: [m.pop(k) for k in ("scores", "balance", "controls")])
    publish_quietly(build, dry_run=True)
    card = (build / "publish/README.md").read_text()
    assert "licence of 6 rows is not known" in card
    assert "scores.png" not in card


# The Hub.


def test_what_the_hub_received_is_the_folder_tagged_private_and_opens(hub, tmp_path):
    build = finished_build(tmp_path / "build", files=3)
    add_findings(build)
    url, _ = publish_quietly(build, tag="v1")
    assert url == f"{hub.url}/datasets/{NAME}/tree/v1"
    repo = hub.repos[NAME]
    assert repo.private
    assert repo.tags == {"v1": repo.commits[-1][0]}
    assert published(hub) == tree(build / "publish")
    snippet = re.search(r"```python\n(.*?)```", published(hub)["README.md"].decode(), re.DOTALL)
    assert f'load_dataset("{NAME}", revision="v1")' in snippet[1]
    # In a process of its own: `datasets` reads the Hub's address when it is imported.
    done = run([PYTHON, "-c", snippet[1]], {**os.environ, "HF_DATASETS_CACHE": str(tmp_path / "c")})
    assert done.returncode == 0, done.stderr
    assert re.match(r"[1-5] .*\(\d+, 16\)$", done.stdout.strip(), re.DOTALL), done.stdout


# The manifest of these builds says that they were finished at 2026-11-27T09:59:19Z.
WHEN = "build-20261127T095919"


def test_without_a_tag_the_state_is_tagged_with_when_the_build_was_finished(hub, tmp_path):
    build = finished_build(tmp_path / "build")
    done = command(build)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{hub.url}/datasets/{NAME}/tree/{WHEN}"
    repo = hub.repos[NAME]
    assert repo.tags == {WHEN: repo.commits[-1][0]}
    card = published(hub)["README.md"].decode()
    assert f'load_dataset("{NAME}", revision="{WHEN}")' in card
    # A build that was finished later is another state, with a tag of its own.
    finish(build, "gen", rows_per_file=100)
    change_manifest(build, lambda manifest: manifest.update(finished_at="2026-11-28T00:00:00Z"))
    publish_quietly(build)
    assert set(repo.tags) == {WHEN, "build-20261128T000000"}
    assert repo.tags[WHEN] != repo.tags["build-20261128T000000"] == repo.commits[-1][0]


def test_a_dry_run_says_what_the_tag_would_be_and_the_card_has_it(hub, tmp_path):
    build = finished_build(tmp_path / "build")
    done = command(build, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(build / "publish")
    assert f"nothing is sent; this state would be tagged {WHEN}" in done.stderr
    assert f'revision="{WHEN}")' in (build / "publish/README.md").read_text()
    _, lines = publish_quietly(build, dry_run=True, tag="v7")
    assert lines[-1].endswith("tagged v7")
    assert hub.requests == []


def test_another_card_of_the_same_build_needs_another_tag(hub, tmp_path):
    build = finished_build(tmp_path / "build")
    publish_quietly(build)
    tagged = dict(hub.repos[NAME].tags)
    add_findings(build)
    with pytest.raises(PublishFailed, match=f"has a tag {WHEN} already.*another one with --tag"):
        publish_quietly(build)
    publish_quietly(build, tag="audited")
    repo = hub.repos[NAME]
    assert repo.tags == tagged | {"audited": repo.commits[-1][0]}


@pytest.mark.parametrize("tag", ["v1", None])
def test_published_again_nothing_is_sent(hub, tmp_path, tag):
    build = finished_build(tmp_path / "build", files=3)
    publish_quietly(build, tag=tag)
    puts, commits = hub.puts(), hub.commits()
    url, _ = publish_quietly(build, tag=tag)
    assert url.endswith(f"/tree/{tag or WHEN}")
    assert (hub.puts(), hub.commits()) == (puts, commits)


def test_the_data_goes_in_bounded_commits_and_the_card_last(hub, tmp_path):
    build = finished_build(tmp_path / "build", files=4)
    folder = folder_of(build)
    upload(folder, NAME, public=False, tag="v1", say=lambda _: None, files_a_commit=2)
    states = [set(files) - {".gitattributes"} for _, files in hub.repos[NAME].commits]
    assert [len(state) for state in states[:5]] == [0, 1, 3, 5, 6]
    stub = hub.repos[NAME].commits[1][1]["README.md"]
    assert "firm-foundry" in DatasetCard(stub.decode()).data.tags
    for _, files in hub.repos[NAME].commits[1:5]:
        assert files["README.md"] == stub
    assert len(states) == 6
    assert published(hub) == tree(folder)


def test_files_of_an_earlier_publish_go_in_the_same_run_and_foreign_ones_stay(hub, tmp_path):
    build = finished_build(tmp_path / "build", files=4)
    publish_quietly(build, tag="v1")
    repo = hub.repos[NAME]
    mine = dict.fromkeys(("LICENSE", "README.md.bak", "scores.png.old", "database/x"), b"mine")
    repo.commit({**repo.files, **mine})
    finish(build, "gen", rows_per_file=100)
    publish_quietly(build, tag="v2")
    assert published(hub) == tree(build / "publish") | mine
    assert len([path for path in repo.at("v1")[1] if path.startswith("data/train-")]) == 4
    opened = load(build / "publish", tmp_path / "cache")
    assert sum(len(rows) for rows in opened.values()) == check_law(build).dataset == 5


def test_a_file_with_the_name_of_another_replaces_it(hub, tmp_path):
    build = finished_build(tmp_path / "build", files=2)
    publish_quietly(build)
    n_sent = len(hub.puts())
    path = next((build / "dataset").glob("train-00000-*"))
    table = pq.read_table(path)
    path.unlink()
    pq.write_table(table, path, compression="gzip")
    publish_quietly(build, tag="v2")
    assert published(hub) == tree(build / "publish")
    assert len(hub.puts()) == n_sent + 1


def test_a_tag_is_never_moved(hub, tmp_path):
    build = finished_build(tmp_path / "build", files=2)
    publish_quietly(build, tag="v1")
    finish(build, "gen", rows_per_file=100)
    puts = hub.puts()
    with pytest.raises(PublishFailed, match="has a tag v1 already"):
        publish_quietly(build, tag="v1")
    assert hub.puts() == puts


def test_it_is_public_only_when_told_and_only_at_the_end(hub, tmp_path):
    build = finished_build(tmp_path / "build")
    publish_quietly(build, public=True, tag="v1")
    assert not hub.repos[NAME].private
    assert hub.requests[-1][1].endswith("/settings")
    with pytest.raises(PublishFailed, match="is public: say --public"):
        publish_quietly(build)
    publish_quietly(build, public=True)


def test_somebody_elses_dataset_is_not_overwritten(hub, tmp_path):
    build = finished_build(tmp_path / "build")
    publish_quietly(build)
    repo = hub.repos[NAME]
    repo.commit({"README.md": b"---\nlicense: mit\n---\nmine", "data/train-0.parquet": b"mine"})
    with pytest.raises(PublishFailed, match="not published from here"):
        publish_quietly(build)
    assert repo.files["data/train-0.parquet"] == b"mine"


def test_files_without_a_card_are_somebody_elses_and_stay(hub, tmp_path):
    build = finished_build(tmp_path / "build")
    publish_quietly(build)
    repo = hub.repos[NAME]
    for path in ("data/raw-0.parquet", "notes.txt"):
        repo.commit({".gitattributes": GIT_ATTRIBUTES, path: b"mine"})
        with pytest.raises(PublishFailed, match=f"not published from here.*{path}.*another name"):
            publish_quietly(build)
        assert published(hub) == {path: b"mine"}


def test_an_empty_dataset_that_a_person_made_is_filled(hub, tmp_path):
    build = finished_build(tmp_path / "build")
    hub.repos[NAME] = Repo(private=True)
    hub.repos[NAME].commit({".gitattributes": GIT_ATTRIBUTES})
    publish_quietly(build)
    assert published(hub) == tree(build / "publish")


# Trouble.


def test_after_a_cut_only_what_is_missing_is_sent(hub, tmp_path):
    build = finished_build(tmp_path / "build", files=4)
    folder = folder_of(build)
    settings = {"public": False, "tag": "v1", "say": lambda _: None, "files_a_commit": 2}
    hub.drop_from_put = 3
    with pytest.raises(PublishFailed, match=r"cannot be reached.*run the same command again"):
        upload(folder, NAME, **settings)
    sent = hub.puts()
    assert len(sent) == 3
    assert len(hub.commits()) == 2
    assert hub.repos[NAME].tags == {}
    hub.drop_from_put, hub.down = None, False
    upload(folder, NAME, **settings)
    assert len(hub.puts()) == len(set(hub.puts())) == 5
    assert published(hub) == tree(folder)
    assert set(hub.repos[NAME].tags) == {"v1"}


def test_after_kill_9_only_what_is_missing_is_sent(hub, tmp_path):
    build = finished_build(tmp_path / "build", files=4)
    hub.stall_from_put = 3
    words = [PYTHON, "-m", "flows.publish_dataset", str(build), "--repo-id", NAME, "--tag", "v1"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with open(tmp_path / "log", "wb") as log:
        child = subprocess.Popen(words, env=env, cwd=ROOT, stdout=log, stderr=log)
        assert hub.stalled.wait(60), (tmp_path / "log").read_text()
        deadline = time.monotonic() + 10
        while len(hub.puts()) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        child.send_signal(signal.SIGKILL)
        child.wait()
    before = hub.puts()
    assert len(before) >= 3
    assert set(published(hub)) == {"README.md"}
    hub.stall_from_put = None
    done = command(build, "--tag", "v1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{hub.url}/datasets/{NAME}/tree/v1"
    assert len(hub.puts()) == len(set(hub.puts())) == 5
    assert published(hub) == tree(build / "publish")


@pytest.mark.parametrize(
    "where", [("POST", "/api/repos/create"), ("POST", "/preupload/"), ("POST", "/commit/"),
              ("PUT", "/lfs/"), ("POST", "/tag/"), ("GET", "/tree/")]
)  # fmt: skip
def test_429_waits_as_long_as_it_is_told(hub, tmp_path, monkeypatch, where):
    waits = []
    monkeypatch.setattr("tenacity.nap.time.sleep", waits.append)
    monkeypatch.setattr(QuickTime, "sleep", waits.append)
    hub.faults.append((*where, (429, {"error": "slow down"}, {"Retry-After": "7"})))
    publish_quietly(finished_build(tmp_path / "build"), tag="v1")
    # huggingface_hub adds a second where it waits itself.
    assert [wait for wait in waits if wait] in ([7], [8])
    assert published(hub) == tree(tmp_path / "build/publish")


def test_a_commit_whose_answer_was_lost_is_not_made_twice(hub, tmp_path):
    build = finished_build(tmp_path / "build", files=4)
    publish_quietly(build)
    finish(build, "gen", rows_per_file=100)
    commit, before, lost = hub.handler.on_commit, len(hub.repos[NAME].commits), []

    def lose_the_answer(self, *words):
        answer = commit(self, *words)
        lost.append(answer)
        return answer if len(lost) > 2 else (502, {"error": "lost"}, {})

    hub.handler.on_commit = lose_the_answer
    publish_quietly(build, tag="v2")
    assert len(lost) == 2
    # The data, then the card with the removal of old files: each once.
    assert len(hub.repos[NAME].commits) == before + 2
    assert published(hub) == tree(build / "publish")


def test_a_hub_without_xet_storage_is_told_how_to_be_served(hub, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_HUB_DISABLE_XET")
    build = finished_build(tmp_path / "build")
    failed = command(build)
    assert failed.returncode == 1
    assert "HF_HUB_DISABLE_XET=1" in failed.stderr
    assert "Traceback" not in failed.stderr
    done = command(build, HF_HUB_DISABLE_XET="1")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("status", "message"),
    [(401, r"hf auth login.*HF_TOKEN"), (403, r"may not write to me/my-edits \(no rights\)")],
)
def test_a_token_that_will_not_do_is_told_without_a_trace(hub, tmp_path, status, message):
    build = finished_build(tmp_path / "build")
    hub.faults.append(("POST", "/api/repos/create", (status, {"error": "no rights"}, {})))
    done = command(build)
    assert done.returncode == 1
    assert re.search(message, done.stderr), done.stderr
    assert "Traceback" not in done.stderr


def test_an_address_of_the_storage_that_expired_is_asked_for_anew(hub, tmp_path):
    build = finished_build(tmp_path / "build")
    hub.faults.append(("PUT", "/lfs/", (403, {"error": "Request has expired"}, {})))
    _, lines = publish_quietly(build)
    assert published(hub) == tree(build / "publish")
    assert any("status 403; again in" in line for line in lines)
    # The data are one batch: once before the refusal, and once more.
    assert len(hub.done("POST", "/lfs/objects/batch")) == 2


def test_a_storage_that_keeps_refusing_is_not_said_to_be_the_token(hub, tmp_path):
    build = finished_build(tmp_path / "build")
    hub.faults += [("PUT", "/lfs/", (403, {"error": "no"}, {}))] * 4
    with pytest.raises(PublishFailed, match=r"storage localhost answered 403 .*same command"):
        publish_quietly(build)


def test_without_a_token_nothing_is_asked(hub, tmp_path, monkeypatch):
    build = finished_build(tmp_path / "build")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(PublishFailed, match=r"no token.*hf auth login.*HF_TOKEN"):
        publish_quietly(build)
    assert hub.requests == []


@pytest.mark.parametrize(
    "words", [("--token", TOKEN), (f"--token={TOKEN}",), (TOKEN,), (f"--tag={TOKEN}",)]
)
def test_a_token_on_the_command_line_is_refused_and_not_repeated(tmp_path, words):
    done = command(tmp_path / "no build", *words)
    assert done.returncode == 2
    assert "HF_TOKEN" in done.stderr
    assert TOKEN not in done.stdout + done.stderr


def test_a_name_that_begins_like_a_token_is_none(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="1"):
        run_command(["none", "--repo-id", "hf_me/my-edits"])
    assert "not a build folder" in capsys.readouterr().err


@pytest.mark.parametrize("debug", [{}, {"HF_DEBUG": "1", "HF_HUB_VERBOSITY": "debug"}])
def test_the_token_is_nowhere_to_be_seen(hub, tmp_path, debug):
    build = finished_build(tmp_path / "build")
    hub.faults.append(("POST", "/commit/", (500, {"error": "for once"}, {})))
    hub.faults.append(("PUT", "/lfs/", (400, {"error": "no"}, {})))
    failed = command(build, **debug)
    done = command(build, "--tag", "v1", **debug)
    assert (failed.returncode, done.returncode) == (1, 0), failed.stderr + done.stderr
    assert "the Hub: status 500" in failed.stderr
    assert "answered 400" in failed.stderr
    everything = failed.stdout + failed.stderr + done.stdout + done.stderr
    assert TOKEN not in everything
    for folder in (build, tmp_path / "hf"):
        assert not [name for name, data in tree(folder).items() if TOKEN.encode() in data]


def test_the_flow_says_where_it_stands_and_a_failure_is_a_state(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("flows.publish_dataset.get_run_logger", lambda: logging.getLogger("x"))
    build = finished_build(tmp_path / "build")
    done = publish_dataset.fn(str(build), NAME, tag="v1")
    assert done["url"] == f"{hub.url}/datasets/{NAME}/tree/v1"
    (build / "manifest.json").unlink()
    state = publish_dataset.fn(str(build), NAME)
    assert state.is_failed()
    assert "run the build again" in state.message


@pytest.mark.parametrize(
    ("name", "tag", "message"),
    [("my-edits", None, "my-name/my-edits"), ("me/my edits", None, "--repo-id me/my edits"),
     (NAME, 'v1")', "letters, digits")],
)  # fmt: skip
def test_a_name_or_tag_that_will_not_do_is_refused_at_once(hub, tmp_path, name, tag, message):
    plain = {"public": False, "dry_run": True}
    plain |= {"allow_noncommercial": False, "allow_paths": False}
    with pytest.raises(PublishFailed, match=re.escape(message)):
        publish(tmp_path, name, tag=tag, say=print, **plain)
