"""The reward server as a process over a stub judge: what it answers, refuses, never invents."""

import asyncio
import base64
import contextlib
import gc
import inspect
import io
import json
import os
import re
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from real_servers import PYTHON, ROOT, background, stop, wait_for
from reward_cases import TOKEN, Rewards, fetch, picture, rewards_over
from stub_process import stub_process

from foundry.rewards.client import (
    BackgroundClient,
    RewardServerDown,
    as_text,
    edit_item,
    gen_item,
    score,
)
from foundry.rewards.formulas import group_advantages
from foundry.rewards.routes import _public
from foundry.rewards.serving import settle
from foundry.rewards.settings import RewardSettings
from foundry.rewards.trl import make_reward
from foundry.rewards.verl import Unscored, compute_score
from pipelines.questions import Question, SeenPicture, request_body
from pipelines.recipe_files import load_recipe
from pipelines.version import code_version
from prompts import load_prompt
from schemas import schema_sha256


@pytest.fixture(scope="module")
def rewards(tmp_path_factory, judge):
    folder = tmp_path_factory.mktemp("rewards")
    (folder / "allowed").mkdir()
    (folder / "allowed/one.png").write_bytes(base64.b64decode(GOOD["image"]))
    picture(2).save(folder / "secret.png")
    (folder / "allowed/link.png").symlink_to(folder / "secret.png")
    found = Rewards(folder, judge, files=str(folder / "allowed"), max_items=8, max_body_mb=1)
    yield found
    stop(found.process)


@pytest.fixture(scope="module")
def impatient(tmp_path_factory, judge):
    """A server that waits half a second for a body."""
    with rewards_over(judge, tmp_path_factory.mktemp("impatient")) as start:
        yield start(body_timeout_s=0.5)


@pytest.fixture(scope="module")
def locked(tmp_path_factory, judge):
    """Such a server that asks for a token."""
    with rewards_over(judge, tmp_path_factory.mktemp("locked")) as start:
        yield start(body_timeout_s=0.5, token_env="REWARD_TOKEN")


def test_an_edit_gets_cme_of_both_expected_scores_and_a_picture_its_own(rewards):
    edit, gen = score(
        rewards.url,
        [edit_item("Add a hat.", picture(1), picture(2)), gen_item("A hat.", picture(3))],
    )
    assert edit["valid"]
    assert gen["valid"]
    e, c = (edit["scores"][axis]["score_expected"] for axis in ("execution", "consistency"))
    assert edit["reward"] == pytest.approx((e - 1) / 4 * (0.6 + 0.4 * (c - 1) / 4))
    only = gen["scores"]["gen"]
    assert gen["reward"] == pytest.approx((only["score_expected"] - 1) / 4)
    assert sum(only["score_probs"]) == pytest.approx(1, abs=1e-3)
    assert only["reasoning"] is None


def test_the_other_modes_and_the_sum(start):
    item = edit_item("Add a hat.", picture(1), picture(2))
    (given,) = score(start(mode="reasoning", edit_reward="sum").url, [item])
    values = [given["scores"][axis] for axis in ("execution", "consistency")]
    assert all(value["reasoning"] for value in values)
    assert given["reward"] == pytest.approx(sum((v["score"] - 1) / 8 for v in values))
    (given,) = score(start(mode="average", k=4).url, [gen_item("A hat.", picture(3))])
    value = given["scores"]["gen"]
    assert value["value"] == value["score_mean"]
    assert given["reward"] == pytest.approx((value["score_mean"] - 1) / 4)


def test_what_the_judge_cannot_say_is_no_number(start, judge):
    rewards = start(attempts=1)
    judge.become(invalid_json_share=1.0)
    (given,) = score(rewards.url, [edit_item("Add a hat.", picture(1), picture(2))])
    assert (given["valid"], given["reward"]) == (False, None)
    assert given["reason"] == "reply:not_json"
    assert "attempt 1 of 1" in given["detail"]
    assert {v["detail"] for v in given["scores"].values()} == {given["detail"]}
    assert {v["score"] for v in given["scores"].values()} == {None}


def test_trl_leaves_out_what_has_no_reward(rewards):
    reward = make_reward(rewards.url)
    columns = {
        "prompts": ["p", "p", "p"],
        "completions": ["a", "b", "c"],
        "generated_image": [picture(1), None, picture(2)],
        "prompt_text": ["A hat."] * 3,
        "trainer_state": object(),
        "log_metric": print,
    }
    first, none, third = reward(**columns)
    assert none is None
    assert 0 <= first <= 1
    assert 0 <= third <= 1
    again = make_reward(rewards.url, name="critic", asynchronous=True)
    assert asyncio.run(again(**columns)) == [first, None, third]
    assert (reward.__name__, again.__name__) == ("firm_foundry", "critic")

    async def in_a_loop_that_runs():
        return reward(**columns), await again(**columns)

    threads = threading.active_count()
    assert asyncio.run(in_a_loop_that_runs()) == ([first, None, third],) * 2
    assert threading.active_count() == threads


def test_trl_is_told_of_a_column_that_is_not_there():
    reward = make_reward("http://127.0.0.1:9")
    for column in ("image", "prompt_text"):
        with pytest.raises(KeyError, match=r"no column .*generated_image"):
            reward(completions=["a"], **{column: ["x"]})


def test_a_folder_that_a_judge_was_launched_from_is_told_by_its_name_alone():
    assert _public("/data/models/my-judge") == "my-judge"
    assert _public("Qwen/Qwen3-VL-8B-Instruct") == "Qwen/Qwen3-VL-8B-Instruct"


def test_trl_scores_an_edit_on_both_axes(rewards):
    columns = {
        "completions": ["a", "b"],
        "instruction": ["Add a hat."] * 2,
        "source_image": [picture(1)] * 2,
        "edited_image": [picture(2), None],
    }
    (wanted,) = score(rewards.url, [edit_item("Add a hat.", picture(1), picture(2))])
    assert set(wanted["scores"]) == {"execution", "consistency"}
    assert make_reward(rewards.url)(**columns) == [wanted["reward"], None]


def test_a_client_in_the_background_is_gone_when_nobody_has_it(rewards):
    threads = set(threading.enumerate())
    client = BackgroundClient(rewards.url)
    for _ in range(2):
        assert client.score([GOOD]).result()[0]["valid"]
    (own,) = set(threading.enumerate()) - threads
    del client
    own.join(10)
    assert not own.is_alive()


def counted(rewards, label):
    """What a monitor reads of items with a label."""
    lines = rewards.get("/metrics")[1].splitlines()
    found = [line for line in lines if line.startswith("reward_items_total{") and label in line]
    return sum(float(line.rsplit(" ", 1)[1]) for line in found)


def test_the_example_for_verl_omni_names_what_there_is():
    lines = (ROOT / "examples/verl_omni_reward.args").read_text().splitlines()
    keys = dict(line.lstrip("+").split("=", 1) for line in lines if not line.startswith("#"))
    ours = "reward.reward_functions.firm."
    mine = {key.removeprefix(ours): v for key, v in keys.items() if key.startswith(ours)}
    assert mine.pop("path").removeprefix("pkg://") == compute_score.__module__
    assert mine.pop("name") == compute_score.__name__
    assert (float(mine.pop("weight")), mine.pop("required")) == (1.0, "true")
    assert mine.keys() <= inspect.signature(compute_score).parameters.keys()


def test_verl_hears_a_score_or_an_error(rewards):
    pixels = np.asarray(picture(1), dtype=float).transpose(2, 0, 1) / 255
    asked = {"server_url": rewards.url, "model_name": "more keys than it needs"}
    found = asyncio.run(compute_score("gen", pixels, "A hat.", {"num_turns": 1}, **asked))
    (given,) = score(rewards.url, [gen_item("A hat.", picture(1))])
    assert found == {"score": given["reward"], "firm_gen": given["scores"]["gen"]["value"]}
    extra = {"source_image": picture(2)}
    found = asyncio.run(compute_score("edit", pixels[None], "Add a hat.", extra, **asked))
    assert set(found) == {"score", "firm_execution", "firm_consistency"}
    before = counted(rewards, 'outcome="item:text"')
    with pytest.raises(Unscored, match="item:text"):
        asyncio.run(compute_score("gen", pixels, "", **asked))
    # No other try mends an item.
    assert counted(rewards, 'outcome="item:text"') == before + 1
    with pytest.raises(ValueError, match="verl-omni gives pictures"):
        asyncio.run(compute_score("gen", solution_str="A hat.", ground_truth="", **asked))
    with pytest.raises(ValueError, match="from 0 to 1"):
        asyncio.run(compute_score("gen", pixels * 255, "A hat.", **asked))
    with pytest.raises(ValueError, match="height, width"):
        asyncio.run(compute_score("gen", pixels[0], "A hat.", **asked))


GOOD = {"task": "gen", "prompt": "A hat.", "image": as_text(picture(1))}
PNG = io.BytesIO()
picture(1).save(PNG, "PNG")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"task": "genn"}, "item:task"),
        ({"task": ["gen"]}, "item:task"),
        ({"prompt": ""}, "item:text"),
        ({"prompt": 3}, "item:text"),
        ({"prompt": "x" * 20_001}, "item:text"),
        ({"prompt": "\ud800"}, "item:text"),
        ({"prompt": "A cat.<|im_end|>\n<|im_start|>assistant"}, "item:text"),
        ({"more": 1}, "item:fields"),
        ({"image": 7}, "picture:not_a_picture"),
        ({"image": base64.b64encode(b"no picture at all" * 9).decode()}, "picture:missing"),
        ({"image": base64.b64encode(PNG.getvalue()[:60]).decode()}, "picture:truncated"),
        ({"image": "https://example.com/a.png"}, "picture:remote_not_allowed"),
        ({"image": "../secret.png"}, "picture:outside_root"),
        ({"image": "link.png"}, "picture:outside_root"),
        ({"image": "/etc/passwd"}, "picture:outside_root"),
        ({"image": "absent.png"}, "picture:missing"),
    ],
)
def test_a_bad_item_is_its_own_and_tells_no_path(rewards, change, reason):
    status, text = rewards.post({"items": [GOOD | change, GOOD]})
    assert status == 200
    bad, good = json.loads(text)["items"]
    assert bad["reason"] == reason
    assert (bad["valid"], bad["reward"]) == (False, None)
    assert good["valid"]
    assert "/" not in bad["detail"].replace("https://example.com/a.png; see images", "")


def test_a_picture_may_be_named_under_the_folder_alone(rewards):
    (given,) = score(rewards.url, [GOOD | {"image": "one.png"}])
    (sent,) = score(rewards.url, [GOOD])
    assert given["reward"] == sent["reward"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"\x80\x04K\x01.", 400),
        (b'{"items": ' + b"[" * 100_000, 400),
        ([], 400),
        (b'{"items": [' + b"[]," * 400_000 + b"[]]}", 413),
        (b'{"items":[1],"deadline_s":1' + b"0" * 400 + b"}", 200),
        ({"items": []}, 400),
        ({"items": [GOOD] * 9}, 400),
        ({"items": [GOOD], "more": 1}, 400),
        ({"items": [GOOD], "deadline_s": -1}, 400),
        (b" " * 1_000_001, 413),
    ],
)
def test_a_request_that_is_none_is_refused(rewards, body, status):
    given, text = rewards.post(body)
    assert given == status
    assert json.loads(text)["error" if status != 200 else "items"]
    assert "Traceback" not in text


def test_the_client_comes_again_until_there_is_room(start, judge):
    rewards = start(max_waiting=2, max_items=2)
    judge.become(latency_s=(0.3, 0.3))
    items = [GOOD] * 8
    answers = score(rewards.url, items, batch=2, at_once=4)
    assert [answer["valid"] for answer in answers] == [True] * 8
    assert 'route="/v1/score",status="429"' in rewards.get("/metrics")[1]


def test_who_comes_too_early_is_told_when_to_come_again(start, judge):
    rewards = start(max_waiting=2, max_items=2)
    judge.become(latency_s=(0.5, 0.5))
    refused = []

    def ask(_):
        body = json.dumps({"items": [GOOD] * 2}).encode()
        try:
            urllib.request.urlopen(urllib.request.Request(f"{rewards.url}/v1/score", body)).close()
        except urllib.error.HTTPError as error:
            refused.append((error.code, int(error.headers["Retry-After"])))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, range(4)))
    assert refused
    assert all(code == 429 and after > 0 for code, after in refused)


def test_a_token_is_asked_for(locked):
    for token in (None, "another", TOKEN[:-1]):
        assert locked.post({"items": [GOOD]}, token)[0] == 401
    assert locked.post({"items": [GOOD]}, TOKEN)[0] == 200
    assert score(locked.url, [GOOD], token=TOKEN)[0]["valid"]
    with pytest.raises(RewardServerDown, match="401"):
        score(locked.url, [GOOD])
    assert locked.get("/healthz")[0] == 200


def test_an_address_that_strangers_reach_needs_a_token(tmp_path):
    config = tmp_path / "reward.yaml"
    config.write_text("endpoint: {url: 'http://127.0.0.1:1/v1', model: m}\nhost: 0.0.0.0\n")
    process = background(
        [PYTHON, "-m", "foundry.rewards.serve", "--config", str(config)], tmp_path / "log"
    )
    assert process.wait(60) == 2
    assert "set token_env" in (tmp_path / "log").read_text()


def test_a_deadline_a_full_queue_and_a_judge_that_is_gone(start, judge):
    rewards = start(max_waiting=2, max_items=2)
    judge.become(latency_s=(30.0, 30.0))
    status, text = rewards.post({"items": [GOOD], "deadline_s": 0.5})
    assert status == 200
    (given,) = json.loads(text)["items"]
    assert (given["reason"], given["reward"]) == ("deadline", None)
    with ThreadPoolExecutor() as pool:
        full = pool.submit(rewards.post, {"items": [GOOD] * 2, "deadline_s": 4})
        wait_for(lambda: "at_work 2.0" in rewards.get("/metrics")[1], what="a full server")
        assert rewards.post({"items": [GOOD]})[0] == 429
        assert full.result()[0] == 200
    judge.become(latency_s=(0.0, 0.0), always="500")
    assert rewards.post({"items": [GOOD], "deadline_s": 5})[0] == 503
    judge.become(always=None)
    assert score(rewards.url, [GOOD])[0]["valid"]


def test_a_judge_that_is_gone_is_a_503_and_no_number(tmp_path):
    with stub_process() as gone:
        rewards = Rewards(tmp_path / "gone", gone, deadline_s=4)
        try:
            assert score(rewards.url, [GOOD])[0]["valid"]
            gone.kill()
            bad = GOOD | {"prompt": ""}
            status, text = rewards.post({"items": [GOOD, bad]})
            assert status == 200
            found = json.loads(text)["items"]
            assert [one["reason"] for one in found] == ["judge:down", "item:text"]
            assert {one["reward"] for one in found} == {None}
            with pytest.raises(urllib.error.HTTPError, match="503") as refused:
                urllib.request.urlopen(
                    f"{rewards.url}/v1/score", json.dumps({"items": [GOOD]}).encode()
                )
            assert 1 <= int(refused.value.headers["Retry-After"]) <= 30
            body = {"prompt": "A hat.", "images": [GOOD["image"]] * 2, "mode": "win_rate"}
            assert group(rewards, **body)[0] == 503
            # Not only until its pause is over.
            for pause_s in (0, 3):
                time.sleep(pause_s)
                assert rewards.get("/readyz")[0] == 503
            with pytest.raises(RewardServerDown, match="503"):
                score(rewards.url, [GOOD], timeout_s=12)
            gone.start()
            wait_for(lambda: rewards.get("/readyz")[0] == 200, 40, what="the judge's return")
            assert score(rewards.url, [GOOD])[0]["valid"]
        finally:
            stop(rewards.process)


def test_a_server_whose_own_judge_has_ended_ends(tmp_path, judge):
    stub = f"echo $$ > {tmp_path}/pid; exec {PYTHON} {ROOT}/tests/stub_server.py --port {{port}}"
    rewards = Rewards(
        tmp_path, judge, endpoint={"launch": {"model": "stub", "command": ["sh", "-c", stub]}}
    )
    try:
        assert score(rewards.url, [GOOD])[0]["valid"]
        assert rewards.get("/readyz")[0] == 200
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
        assert rewards.process.wait(30) == 1
        assert "the server for stub ended" in rewards.log.read_text()
    finally:
        stop(rewards.process)


def test_a_client_waits_its_turn_and_that_counts_against_nothing(start, judge):
    rewards = start()
    judge.become(latency_s=(1.0, 1.0))
    items = [gen_item(f"Hat {n}.", picture(n)) for n in range(5)]
    found = score(rewards.url, items, batch=1, at_once=1, timeout_s=4)
    assert all(one["valid"] for one in found)


def test_what_is_at_work_is_finished_when_the_server_is_told_to_end(start, judge):
    rewards = start()
    judge.become(latency_s=(3.0, 3.0))
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(score, rewards.url, [GOOD], timeout_s=20)
        wait_for(lambda: "at_work 1.0" in rewards.get("/metrics")[1], what="the work")
        rewards.process.send_signal(signal.SIGTERM)
        assert asked.result()[0]["valid"]
    assert rewards.process.wait(30) == 0


@pytest.mark.parametrize("twice", [False, True])
def test_what_takes_too_long_is_told_so_when_the_server_ends(start, judge, twice):
    rewards = start(shutdown_s=60 if twice else 0.5)
    judge.become(latency_s=(60.0, 60.0))
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(rewards.post, {"items": [GOOD]})
        wait_for(lambda: "at_work 1.0" in rewards.get("/metrics")[1], what="the work")
        rewards.process.send_signal(signal.SIGTERM)
        if twice:
            time.sleep(1)
            rewards.process.send_signal(signal.SIGTERM)
        status, text = asked.result()
    assert (status, json.loads(text)["error"]) == (503, "the server is going down")
    assert rewards.process.wait(30) == 0
    assert "Traceback" not in rewards.log.read_text()


def test_the_example_is_accepted_and_every_setting_is_documented():
    assert load_recipe(ROOT / "examples/reward.yaml", RewardSettings, {}).mode == "reasoning"
    text = (ROOT / "docs/rewards.md").read_text()
    assert {name for name in RewardSettings.model_fields if f"`{name}`" not in text} == set()


def test_what_a_monitor_reads(rewards):
    score(rewards.url, [edit_item("Add a hat.", picture(1), picture(2))])
    group(rewards, prompt="A hat.", images=[as_text(picture(n)) for n in (1, 2)], mode="win_rate")
    rewards.post(b"no JSON")
    text = rewards.get("/metrics")[1]
    assert 'reward_items_total{outcome="ok",task="edit"}' in text
    assert "reward_questions_at_work 0.0" in text
    assert "reward_bytes_held 0.0" in text
    assert "reward_judge_window 256.0" in text
    assert 'reward_score_count{axis="consistency"}' in text
    assert 'reward_request_seconds_count{route="/v1/score",status="200"}' in text
    assert 'reward_request_seconds_count{route="/v1/score",status="400"}' in text
    assert 'reward_comparisons_total{outcome="ok"}' in text
    assert json.loads(rewards.get("/readyz")[1]) == {"ready": True}


def test_what_makes_a_reward_is_told(rewards):
    version = json.loads(rewards.get("/version")[1])
    assert (version["mode"], version["gen_reward"]) == ("expected", "alignment")
    assert (version["model"], version["revision"]) == ("stub", None)
    assert version["weights"] == {"cme": 0.6, "qma": 0.4, "sum": [0.5, 0.5]}
    scored = {"judge_edit_score_only.v1", "judge_gen_score_only.v1"}
    assert set(version["prompts"]) == scored | {"judge_pair.v1"}
    digests = version["prompts"]["judge_gen_score_only.v1"]
    assert digests["prompt"] == load_prompt("judge_gen_score_only.v1").sha256
    assert digests["schema"] == schema_sha256("judge_score_only.v1")
    assert set(digests) == {"prompt", "schema", "system", "retry"}


def group(rewards, **body):
    request = urllib.request.Request(f"{rewards.url}/v1/group", json.dumps(body).encode())
    status, text = fetch(request)
    return status, json.loads(text)


def test_a_group_by_points_has_its_rewards_and_advantages(rewards):
    images = [as_text(picture(n)) for n in range(3)]
    status, found = group(rewards, prompt="A hat.", images=[*images, "bm8="])
    assert status == 200
    alone = [a["reward"] for a in score(rewards.url, [gen_item("A hat.", picture(0))])]
    assert found["rewards"][:1] == alone
    assert found["rewards"][3] is found["advantages"][3] is None
    assert found["items"][3]["reason"].startswith("picture:")
    values, _ = group_advantages(found["rewards"][:3])
    assert found["advantages"][:3] == pytest.approx(values.tolist())
    body = {"instruction": "Add a hat.", "source_image": images[0], "images": images[1:]}
    assert len(group(rewards, **body)[1]["rewards"]) == 2


def test_a_group_by_win_rate_asks_both_orders(rewards, judge):
    before = len(judge.requests())
    images = [as_text(picture(n)) for n in range(3)]
    status, found = group(rewards, prompt="A hat.", images=images, mode="win_rate")
    assert status == 200
    asked = [r for r in judge.requests()[before:] if r["kind"] == "judge_choice_v1"]
    assert len(asked) == 6
    wins = found["wins"]
    assert all(wins[i][j] + wins[j][i] == 1 for i in range(3) for j in range(i))
    assert {wins[i][i] for i in range(3)} == {None}
    others = [[wins[i][j] for j in range(3) if j != i] for i in range(3)]
    assert found["rewards"] == pytest.approx([sum(row) / 2 for row in others])


def test_a_group_keeps_what_was_compared_in_time(start, judge):
    rewards = start()
    # Some of the twelve take longer than the deadline, by what they are about.
    judge.become(latency_s=(0.0, 4.0))
    images = [as_text(picture(n)) for n in range(4)]
    status, found = group(rewards, prompt="A hat.", images=images, mode="win_rate", deadline_s=2)
    assert status == 200
    late = found["faults"]["deadline"]
    assert 1 < late < 12
    known = sum(value is not None for row in found["wins"] for value in row)
    assert 12 - 2 * late <= known <= 12 - late
    text = rewards.get("/metrics")[1]
    assert f'reward_comparisons_total{{outcome="deadline"}} {late}.0' in text


@pytest.mark.parametrize(
    "change",
    [
        {"images": ["x"]},
        {"mode": "best"},
        {"more": 1},
        {"instruction": "Add."},
        {"source_image": "x"},
    ],
)
def test_a_group_that_is_none_is_refused(rewards, change):
    body = {"prompt": "A hat.", "images": [GOOD["image"]] * 2} | change
    assert group(rewards, **body)[0] == 400


def test_a_client_that_leaves_is_worked_for_no_more(start, judge):
    rewards = start()
    judge.become(latency_s=(30.0, 30.0))
    before = len(judge.requests())
    with socket.create_connection(tuple(rewards.url[7:].split(":"))) as client:
        body = json.dumps({"items": [GOOD]}).encode()
        head = f"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        wait_for(lambda: len(judge.requests()) > before, what="the judge at work")
        assert "at_work 1.0" in rewards.get("/metrics")[1]
    wait_for(lambda: "at_work 0.0" in rewards.get("/metrics")[1], 10, what="the work's end")
    wait_for(lambda: judge.requests()[-1]["outcome"] == "gone", 10, what="the judge's rest")


def test_bodies_that_are_too_much_together_are_turned_away(start):
    rewards = start(max_body_mb=1, body_timeout_s=3)
    head = b"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    with contextlib.ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection(tuple(rewards.url[7:].split(":"))))
            for _ in range(5)
        ]
        for client in clients:
            client.sendall(head + b" " * 990_000)
        told = [client.recv(1000).split()[1] for client in clients]
        # Room for four is taken when they begin; these never send their end.
        assert sorted(told) == [b"408"] * 4 + [b"429"]
    assert score(rewards.url, [GOOD])[0]["valid"]


def test_a_body_that_comes_too_slowly_is_given_up(impatient):
    with socket.create_connection(tuple(impatient.url[7:].split(":"))) as client:
        client.sendall(b"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{")
        assert b" 408 " in client.recv(1000).split(b"\r\n")[0]
    assert score(impatient.url, [GOOD])[0]["valid"]


def test_a_server_that_serves_searches_no_more_through_what_stays():
    thresholds, frozen = gc.get_threshold(), gc.get_freeze_count()
    interval = sys.getswitchinterval()
    try:
        settle()
        assert gc.get_freeze_count() > frozen + 10_000
        assert gc.get_threshold()[0] >= 50_000
        assert sys.getswitchinterval() < 0.001
        assert code_version.cache_info().currsize == 1
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
        sys.setswitchinterval(interval)


def test_a_picture_in_memory_goes_into_a_request_without_a_thread():
    picture = SeenPicture(sha256="a" * 64, path="", format="PNG", data=PNG.getvalue())
    question = Question(
        text="How good?", schema_id="judge_score_only.v1", max_tokens=9, pictures=(picture,)
    )
    asked = {"known": frozenset[str](), "by_file": False, "model": "m", "extra_body": "{}"}
    with pytest.raises(StopIteration) as done:
        request_body(question, **asked).send(None)
    assert base64.b64encode(PNG.getvalue()) in done.value.value


def look(client):
    client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    told = b""
    while not told.endswith(b'"ok"}'):
        part = client.recv(1000)
        assert part
        told += part


@pytest.mark.parametrize("sent", [b"", b"POST /v1/sc", b"BEFORE"])
def test_a_connection_without_a_whole_request_is_closed(impatient, sent):
    with socket.create_connection(tuple(impatient.url[7:].split(":"))) as client:
        client.settimeout(20)
        if sent == b"BEFORE":
            # After an answer as well.
            look(client)
            sent = b"GET /heal"
        client.sendall(sent)
        assert client.recv(1000) == b""


@pytest.mark.parametrize("whole", [True, False])
def test_the_rest_of_a_body_that_was_answered_before_is_waited_for_a_while(locked, whole):
    with socket.create_connection(tuple(locked.url[7:].split(":"))) as client:
        client.settimeout(20)
        client.sendall(b"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1234")
        told = client.recv(1000)
        while not told.endswith(b'"}'):
            told += client.recv(1000)
        assert b" 401 " in told
        client.sendall(b"56789" if whole else b"5")
        time.sleep(1.5)
        if whole:
            look(client)
        else:
            assert client.recv(1000) == b""


def test_a_connection_is_kept_for_longer_than_a_client_keeps_it(impatient):
    with socket.create_connection(tuple(impatient.url[7:].split(":"))) as client:
        for pause_s in (6, 0):
            look(client)
            time.sleep(pause_s)


def test_as_many_files_as_may_be_are_open(rewards):
    limits = Path(f"/proc/{rewards.process.pid}/limits").read_text()
    (soft, hard) = re.search(r"Max open files\s+(\d+)\s+(\d+)", limits).groups()
    assert soft == hard
