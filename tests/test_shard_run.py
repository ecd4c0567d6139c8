"""A shard through its chain: shared work once, nothing finished asked twice, rows conserved."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from chain_cases import (
    bodies_of,
    chat_to,
    edit_rows,
    gen_rows,
    make_row,
    make_stages,
    run_bucket,
    write_bucket,
)
from stub_server import Behaviour, serve_stub

from pipelines.answers import NotAsked
from pipelines.chat import EndpointDown
from pipelines.dataset_rows import bucket_outcomes, sort_outcomes
from pipelines.rendering import AXES
from pipelines.shard_run import gather_or_cancel
from pipelines.shards import ShardDamaged, shard_paths
from pipelines.tables import read_answers, write_answers

TABLES = {"gen": ("checklists", "gen_scores"), "edit": ("differences", "edit_scores")}
VOLATILE = ("answered_at", "took_s", "endpoint")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr("pipelines.endpoints.LONGEST_PAUSE_S", 0.01)


def make_build(tmp_path, kind, name="build", **shape):
    rows = (gen_rows if kind == "gen" else edit_rows)(tmp_path / "pictures", **shape)
    write_bucket(tmp_path / name, kind, rows)
    return tmp_path / name


def work(build, kind, behaviour=None, *, runs=1, stages=None, **settings):
    """Run the bucket `runs` times with one stub. Returns the counts of the last, and the stub."""

    async def run():
        async with serve_stub(behaviour) as stub, chat_to(stub.url, **settings) as chat:
            for _ in range(runs):
                new = await run_bucket(build, kind, stages or make_stages(kind), chat)
            return new, stub

    return asyncio.run(run())


def stop_after(stub, answers):
    """Let the stub answer so many more requests, then end every run by refusing the key."""
    left = [None] * answers
    stub._next_trouble = lambda: left.pop() if left else "401"


def table_rows(build, table):
    """All rows in the order of the shards, without what may differ between two equal runs."""
    rows = read_answers(build, table, 0).values()
    return [{k: v for k, v in row.items() if k not in VOLATILE} for row in rows]


def journals(build):
    return sorted(str(p.relative_to(build)) for p in (build / "journal").rglob("*.jsonl"))


# Shared work.


def test_a_checklist_is_asked_once_a_prompt_and_every_picture_is_scored(tmp_path):
    build = make_build(tmp_path, "gen", prompts=3, pictures=4)
    new, stub = work(build, "gen")
    assert dict(stub.counts) == {"gen_checklist_v1": 3, "gen_score_v1": 12}
    assert new == {"checklists": 3, "gen_scores": 12}
    assert journals(build) == []


def test_differences_are_asked_once_a_pair_and_both_axes_after_them(tmp_path):
    build = make_build(tmp_path, "edit", pairs=3, instructions=4)
    new, stub = work(build, "edit")
    assert dict(stub.counts) == {"edit_differences_v1": 3, "edit_score_v1": 24}
    assert new == {"differences": 3, "edit_scores": 24}
    scores = table_rows(build, "edit_scores")
    assert {row["axis"] for row in scores} == set(AXES)
    found = {row["answer_id"] for row in table_rows(build, "differences")}
    assert {row["differences_id"] for row in scores} == found


def test_the_upstream_stage_sees_nothing_of_what_it_must_not_see(tmp_path):
    async def run(kind, build):
        async with serve_stub() as stub, chat_to(stub.url) as chat:
            bodies = bodies_of(stub)
            await run_bucket(build, kind, make_stages(kind), chat)
            return bodies

    bodies = asyncio.run(run("gen", make_build(tmp_path, "gen", "g")))
    plans = [b for b in bodies if b["response_format"]["json_schema"]["name"] == "gen_checklist_v1"]
    assert "image_url" not in json.dumps(plans)
    bodies = asyncio.run(run("edit", make_build(tmp_path, "edit", "e")))
    names = [body["response_format"]["json_schema"]["name"] for body in bodies]
    for name, body in zip(names, bodies, strict=True):
        assert ("Make change" in json.dumps(body)) == (name == "edit_score_v1")
    assert names[0] == "edit_differences_v1"


def test_the_verdicts_asked_for_are_those_of_the_checklist(tmp_path):
    build = make_build(tmp_path, "gen")
    work(build, "gen")
    items = {row["answer_id"]: row["items"] for row in table_rows(build, "checklists")}
    for row in table_rows(build, "gen_scores"):
        n = len(items[row["checklist_id"]])
        assert [v["id"] for v in row["verdicts"]] == [f"c{i}" for i in range(1, n + 1)]


def test_equal_answers_in_flight_are_asked_once(tmp_path):
    # Two originals that look the same to the model: their rows differ, their answers do not.
    rows = gen_rows(tmp_path / "pictures", prompts=1, pictures=1)
    twin = {**rows[0]["image"], "sha256": "f" * 64}
    rows.append(make_row(1, prompt=rows[0]["prompt"], image=twin))
    write_bucket(tmp_path / "build", "gen", rows)
    new, stub = work(tmp_path / "build", "gen", Behaviour(latency_s=(0.02, 0.02)))
    assert dict(stub.counts) == {"gen_checklist_v1": 1, "gen_score_v1": 1}
    assert new["gen_scores"] == 1
    _, outcomes, *_ = bucket_outcomes(tmp_path / "build", "gen", 0, make_stages("gen"))
    kept, rejects = sort_outcomes("gen", rows, [*outcomes])
    assert [row["image_sha256"] for row in kept] == [row["image"]["sha256"] for row in rows]
    assert rejects == []


# The second run.


@pytest.mark.parametrize("kind", ["gen", "edit"])
def test_a_second_run_asks_nothing_and_writes_nothing(tmp_path, kind):
    build = make_build(tmp_path, kind)
    work(build, kind)
    before = {p: p.read_bytes() for t in TABLES[kind] for p in (build / t).iterdir()}
    new, stub = work(build, kind)
    assert stub.arrived == 0
    assert set(new.values()) == {0}
    assert {p: p.read_bytes() for t in TABLES[kind] for p in (build / t).iterdir()} == before
    assert journals(build) == []


def test_only_new_rows_are_asked_and_shards_are_added_to(tmp_path):
    build = make_build(tmp_path, "gen", prompts=3, pictures=2)
    work(build, "gen")
    write_bucket(build, "gen", gen_rows(tmp_path / "pictures", prompts=4, pictures=3))
    _, stub = work(build, "gen")
    assert dict(stub.counts) == {"gen_checklist_v1": 1, "gen_score_v1": 6}
    names = [p.name for p in shard_paths(build / "gen_scores")]
    assert names == ["00000-000.parquet", "00000-001.parquet"]


def test_changed_sampling_of_one_stage_asks_that_stage_alone(tmp_path):
    build = make_build(tmp_path, "edit", pairs=2, instructions=1)
    work(build, "edit")
    stages = make_stages("edit", edit_scores={"temperature": 0.5})
    _, stub = work(build, "edit", stages=stages)
    assert dict(stub.counts) == {"edit_score_v1": 4}
    _, stub = work(build, "edit")
    assert stub.arrived == 0


def test_new_weights_in_a_launched_folder_are_another_judge_and_a_running_server_is_not_asked(
    tmp_path,
):
    judge = tmp_path / "judge"
    judge.mkdir()

    def stage(endpoint):
        return make_stages("edit", endpoints={"judge": endpoint})["execution"]

    def launched(**more):
        return stage({"launch": {"model": str(judge), **more.pop("launch", {})}, **more})

    (judge / "config.json").write_text("{}")
    (judge / "model.safetensors").write_bytes(b"old")
    old = launched()
    assert old.revision.startswith("sha256:")
    assert launched().digest == old.digest
    (judge / "model.safetensors").write_bytes(b"new")
    assert launched().digest != old.digest
    named = launched(launch={"args": ["--revision", "v1"]}, revision="v1")
    assert named.revision == "v1"
    shutil.rmtree(judge)
    assert launched().revision is None
    assert stage({"url": "http://127.0.0.1:1/v1", "model": "stub"}).revision is None


def test_a_shard_added_after_another_was_deleted_overwrites_none(tmp_path):
    build = make_build(tmp_path, "gen", prompts=2, pictures=1)
    work(build, "gen")
    write_bucket(build, "gen", gen_rows(tmp_path / "pictures", prompts=4, pictures=1))
    work(build, "gen")
    # What the message of a damaged shard tells a person to do.
    (build / "checklists" / "00000-000.parquet").unlink()
    (build / "gen_scores" / "00000-000.parquet").unlink()
    _, stub = work(build, "gen")
    assert dict(stub.counts) == {"gen_checklist_v1": 2, "gen_score_v1": 2}
    assert len(read_answers(build, "checklists", 0)) == 4
    _, stub = work(build, "gen")
    assert stub.arrived == 0


def test_a_damaged_shard_stops_the_run_and_is_named(tmp_path):
    build = make_build(tmp_path, "gen")
    work(build, "gen")
    path = build / "gen_scores" / "00000-000.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ShardDamaged, match=r"gen_scores/00000-000\.parquet.*delete it"):
        work(build, "gen")


def test_of_two_rows_with_one_id_the_later_stands(tmp_path):
    build = make_build(tmp_path, "gen", prompts=1, pictures=1)
    work(build, "gen")
    (row,) = read_answers(build, "checklists", 0).values()
    write_answers(build, "checklists", 0, [{**row, "model": "later"}])
    assert [r["model"] for r in read_answers(build, "checklists", 0).values()] == ["later"]


def test_the_order_of_rows_does_not_depend_on_the_order_of_replies(tmp_path):
    for kind in ("gen", "edit"):
        fast = make_build(tmp_path, kind, f"{kind}-fast")
        slow = make_build(tmp_path, kind, f"{kind}-slow")
        work(fast, kind)
        work(slow, kind, Behaviour(latency_s=(0.0, 0.1)), max_in_flight=3)
        for table in TABLES[kind]:
            assert table_rows(fast, table) == table_rows(slow, table)


# Interrupted anywhere.


@pytest.mark.parametrize("kind", ["gen", "edit"])
def test_a_run_ended_after_any_reply_goes_on_and_repeats_none(tmp_path, kind):
    shape = {"prompts": 2, "pictures": 2} if kind == "gen" else {"pairs": 2, "instructions": 1}
    whole = make_build(tmp_path, kind, "whole", **shape)
    _, undisturbed = work(whole, kind)

    async def run(build, ended_after):
        async with serve_stub() as stub, chat_to(stub.url, max_in_flight=1) as chat:
            stop_after(stub, ended_after)
            with pytest.raises(EndpointDown, match="401"):
                await run_bucket(build, kind, make_stages(kind), chat)
            assert chat.pool.servers[0].in_flight == 0
            assert not any(shard_paths(build / table) for table in TABLES[kind])
            assert ended_after == 0 or journals(build)
            await asyncio.sleep(0.05)  # The request that was cancelled arrives, and is refused.
            stop_after(stub, 1000)
            await run_bucket(build, kind, make_stages(kind), chat)
            return [r.digest for r in stub.requests if r.outcome == "200"]

    total = undisturbed.arrived
    for ended_after in range(total):
        build = make_build(tmp_path, kind, f"ended-{ended_after}", **shape)
        asked = asyncio.run(run(build, ended_after))
        assert len(asked) == len(set(asked)) == total
        assert journals(build) == []
        for table in TABLES[kind]:
            assert table_rows(build, table) == table_rows(whole, table)


def test_with_several_in_flight_at_most_those_are_repeated(tmp_path):
    async def run(build, ended_after):
        behaviour = Behaviour(latency_s=(0.0, 0.02))
        async with serve_stub(behaviour) as stub, chat_to(stub.url, max_in_flight=5) as chat:
            stop_after(stub, ended_after)
            with pytest.raises(EndpointDown):
                await run_bucket(build, "edit", make_stages("edit"), chat)
            stop_after(stub, 1000)
            await run_bucket(build, "edit", make_stages("edit"), chat)
            asked = [r.digest for r in stub.requests if r.outcome in ("200", "gone")]
            return len(asked) - len(set(asked))

    for ended_after in (3, 8, 13):
        build = make_build(tmp_path, "edit", f"ended-{ended_after}", pairs=4, instructions=2)
        assert asyncio.run(run(build, ended_after)) <= 5


def test_a_full_disk_keeps_the_journal_and_the_next_run_asks_nothing(tmp_path, monkeypatch):
    build = make_build(tmp_path, "gen")

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.shards.pq.write_table", fail)
        with pytest.raises(OSError, match="No space left"):
            work(build, "gen")
    assert len(journals(build)) == 2
    new, stub = work(build, "gen")
    assert stub.arrived == 0
    assert new == {"checklists": 3, "gen_scores": 6}


def test_a_run_ended_between_two_tables_asks_nothing_again(tmp_path, monkeypatch):
    build = make_build(tmp_path, "gen")

    def only_the_first(build, table, *rest):
        if table == "gen_scores":
            raise OSError(28, "No space left on device")
        return write_answers(build, table, *rest)

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.shard_run.write_answers", only_the_first)
        with pytest.raises(OSError, match="No space left"):
            work(build, "gen")
    assert len(shard_paths(build / "checklists")) == 1
    new, stub = work(build, "gen")
    assert stub.arrived == 0
    assert new == {"checklists": 0, "gen_scores": 6}
    assert journals(build) == []


def test_a_journal_that_outlived_its_shard_changes_nothing(tmp_path, monkeypatch):
    build = make_build(tmp_path, "gen")
    with monkeypatch.context() as patch:
        unlink = Path.unlink
        patch.setattr(
            "pathlib.Path.unlink",
            lambda path, **more: None if path.suffix == ".jsonl" else unlink(path, **more),
        )
        work(build, "gen")
    assert len(journals(build)) == 2
    new, stub = work(build, "gen")
    assert stub.arrived == 0
    assert set(new.values()) == {0}
    assert journals(build) == []


# Rejected answers.


def test_rejected_rows_keep_their_rows_and_what_depends_on_them(tmp_path):
    build = make_build(tmp_path, "gen", prompts=6, pictures=2)
    behaviour = Behaviour(violate_share=0.4)
    work(build, "gen", behaviour)
    lists, scores = (table_rows(build, table) for table in TABLES["gen"])
    bad_lists = [row for row in lists if row["status"] == "rejected"]
    bad_scores = [row for row in scores if row["status"] == "rejected"]
    assert len(lists) == 6
    assert 0 < len(bad_lists) < 6
    assert len(scores) == 2 * (6 - len(bad_lists))
    for row in bad_lists + bad_scores:
        assert (row["reason"], row["attempts"]) == ("reply:schema", 3)
        assert row["raw_reply"].startswith("{")
        assert row.get("score") is None
    rows, outcomes, *_ = bucket_outcomes(build, "gen", 0, make_stages("gen"))
    kept, rejects = sort_outcomes("gen", rows, outcomes)
    assert len(kept) + len(rejects) == 12
    upstream = [r for r in rejects if r["reason"] == "upstream:checklists"]
    assert len(upstream) == 2 * len(bad_lists)
    assert all(r["raw_reply"] and r["attempts"] == 3 for r in rejects)


def test_an_edit_without_differences_is_rejected_on_both_axes(tmp_path):
    build = make_build(tmp_path, "edit", pairs=3, instructions=2)
    _, stub = work(build, "edit", Behaviour(refuse_status_share=1.0))
    assert dict(stub.counts) == {"edit_differences_v1": 3}
    rows, outcomes, *_ = bucket_outcomes(build, "edit", 0, make_stages("edit"))
    kept, rejects = sort_outcomes("edit", rows, outcomes)
    assert kept == []
    assert [(r["row_id"], r["axis"]) for r in rejects] == [
        (row["row_id"], axis) for row in rows for axis in AXES
    ]
    assert {r["reason"] for r in rejects} == {"upstream:differences"}


def test_rejected_answers_are_asked_again_only_when_attempts_are_raised(tmp_path):
    build = make_build(tmp_path, "gen", prompts=4, pictures=1)
    behaviour = Behaviour(length_share=1.0, fault_attempts=2, seed_base=0)
    seeded = {"seed": 0, "attempts": 3}
    stages = {
        n: make_stages("gen", checklists={**seeded, "attempts": n}, gen_scores=seeded)
        for n in (1, 2, 3)
    }
    _, stub = work(build, "gen", behaviour, stages=stages[2])
    assert dict(stub.counts) == {"gen_checklist_v1": 8}
    for n in (2, 1):
        _, stub = work(build, "gen", behaviour, stages=stages[n])
        assert stub.arrived == 0
    _, stub = work(build, "gen", behaviour, stages=stages[3])
    assert stub.counts["gen_checklist_v1"] == 4
    rows = table_rows(build, "checklists")
    assert {(row["status"], row["attempts"]) for row in rows} == {("ok", 3)}


# Reading alone, hearing of answers, and stopping.


def test_reading_a_build_asks_nobody_and_says_what_is_missing(tmp_path):
    build = make_build(tmp_path, "gen")
    with pytest.raises(NotAsked, match=r"no answer .* in checklists/"):
        bucket_outcomes(build, "gen", 0, make_stages("gen"))


def test_every_answer_is_heard_of_with_whether_it_was_asked(tmp_path):
    build = make_build(tmp_path, "gen", prompts=2, pictures=2)
    heard = []

    async def run():
        async with serve_stub() as stub, chat_to(stub.url) as chat:
            for _ in range(2):
                await run_bucket(
                    build, "gen", make_stages("gen"), chat, on_answer=lambda *a: heard.append(a)
                )

    asyncio.run(run())
    assert [(stage.name, asked) for stage, _, asked in heard].count(("gen_scores", True)) == 4
    assert [asked for _, _, asked in heard] == [True] * 6 + [False] * 6


def test_one_that_hears_may_stop_the_run_and_no_finished_reply_is_lost(tmp_path):
    build = make_build(tmp_path, "gen", prompts=4, pictures=2)

    class Enough(Exception):
        pass

    def stop(stage, row, asked):
        if stage.name == "gen_scores":
            raise Enough

    async def run():
        async with serve_stub() as stub, chat_to(stub.url, max_in_flight=1) as chat:
            with pytest.raises(Enough):
                await run_bucket(build, "gen", make_stages("gen"), chat, on_answer=stop)
            await run_bucket(build, "gen", make_stages("gen"), chat)
            return stub

    stub = asyncio.run(run())
    asked = [r.digest for r in stub.requests if r.outcome == "200"]
    assert len(set(asked)) == 12
    assert len(asked) <= 13  # The one in flight when it was stopped may be asked again.


def test_a_cancelled_run_leaves_no_request_behind(tmp_path):
    build = make_build(tmp_path, "edit")

    async def run():
        async with serve_stub(Behaviour(latency_s=(5, 5))) as stub, chat_to(stub.url) as chat:
            task = asyncio.ensure_future(run_bucket(build, "edit", make_stages("edit"), chat))
            while not stub.running:
                await asyncio.sleep(0.005)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert chat.pool.servers[0].in_flight == 0
            left = [task.get_coro().__qualname__ for task in asyncio.all_tasks()]
            assert not [name for name in left if "ShardRun" in name or "group" in name]

    asyncio.run(run())


def test_the_first_failure_is_raised_and_the_others_are_stopped():
    stopped = []

    async def wait(i):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            stopped.append(i)
            raise

    async def fail():
        await asyncio.sleep(0.01)
        raise EndpointDown("gone")

    with pytest.raises(EndpointDown, match="gone"):
        asyncio.run(gather_or_cancel([wait(1), fail(), wait(2)]))
    assert stopped == [1, 2]


def test_one_alone_is_waited_for_without_a_task():
    async def whose():
        return asyncio.current_task()

    async def run():
        return await gather_or_cancel([whose()]), asyncio.current_task()

    (found,), own = asyncio.run(run())
    assert found is own
