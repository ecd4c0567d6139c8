"""The trainers' own formats: FIRM's pickles and Flow-Factory's JSON, and what must not get in."""

import concurrent.futures
import contextlib
import io
import json
import os
import pickle
import urllib.request
from types import SimpleNamespace

import pytest
from real_servers import stop
from reward_cases import Rewards, fetch, picture, rewards_over
from stub_process import stub_process

from foundry.rewards.admission import Refused
from foundry.rewards.client import as_text
from foundry.rewards.formulas import cme, qma
from foundry.rewards.settings import TrainerWire
from foundry.rewards.trainer_formats import mean_answer, read_edits, read_flow_factory
from foundry.rewards.trainer_wire import check_address
from pipelines.rendering import AXES


def jpeg(number):
    out = io.BytesIO()
    picture(number).save(out, "JPEG")
    return out.getvalue()


@pytest.fixture(scope="module")
def rewards(tmp_path_factory, judge):
    folder = tmp_path_factory.mktemp("wire")
    found = Rewards(folder, judge, trainer_wire={"port": 0}, gen_reward="qma")
    yield found
    stop(found.process)


def post(rewards, path, body):
    """Status, and what a FIRM trainer unpickles of the answer."""
    request = urllib.request.Request(rewards.wire[0] + path, pickle.dumps(body))
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, pickle.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def edits(n):
    return {
        "ref_images": [jpeg(0)] * n,
        "images": [jpeg(i + 1) for i in range(n)],
        "prompts": ["Add a hat."] * n,
        "metadatas": [{}] * n,
    }


def test_firms_edit_routes(rewards):
    found = {}
    for axis in ("execution", "consistency"):
        status, answer = post(rewards, f"/mode/score_{axis}", edits(3))
        assert status == 200
        assert len(answer["scores"]) == len(answer["reasonings"]) == 3
        assert all(1 <= score <= 5 for score in answer["scores"])
        found[axis] = answer["scores"]
    status, answer = post(rewards, "/mode/logits_non_cot", edits(3))
    assert answer["scores"] == pytest.approx(cme(found["execution"], found["consistency"]).tolist())


def gens(mode=None, n=1):
    images = [jpeg(i + 1) for i in range(n)]
    body = {"images": images, "prompts": ["A hat."] * n, "metadatas": [{}] * n}
    return body | ({} if mode is None else {"reward_blend_mode": mode, "reward_quality_ratio": 0.5})


@pytest.mark.parametrize("mode", [None, "legacy", "mix", "ins"])
def test_firms_gen_route_gives_the_reward_that_is_asked_for(rewards, mode):
    status, answer = post(rewards, "/mode/score", gens(mode))
    assert status == 200
    told = json.loads(answer["reasonings"][0])
    assert told["quality_score"] == min(told["quality_subscores"])
    mixed = qma(told["ins_score"], told["quality_score"])
    assert told["reward"] == pytest.approx(told["ins_norm"] if mode == "ins" else mixed)
    assert told["reward_mode"] == ("ins" if mode == "ins" else "mix")
    assert answer["scores"] == [pytest.approx(4 * told["reward"] + 1)]
    assert told["quality_evaluated"] is True


def test_firms_gen_route_refuses_a_reward_that_it_cannot_give(rewards, start):
    status, told = post(rewards, "/mode/score", gens("best"))
    assert (status, told) == (500, "no such reward_blend_mode: best")
    plain = start(trainer_wire={"port": 0})
    status, told = post(plain, "/mode/score", gens("mix"))
    assert status == 500
    assert "gen_reward: qma" in told
    for mode in ("legacy", "ins"):
        status, answer = post(plain, "/mode/score", gens(mode))
        told = json.loads(answer["reasonings"][0])
        assert told["reward"] == told["ins_norm"]
        assert told["quality_score"] is None


def test_flow_factorys_route(rewards):
    def compute(**body):
        empty = {"video": None, "condition_images": None, "condition_videos": None}
        data = json.dumps({**empty, **body}).encode()
        status, text = fetch(urllib.request.Request(rewards.wire[0] + "/compute", data))
        return status, json.loads(text)

    texts = [as_text(picture(n)) for n in range(3)]
    status, answer = compute(prompt=["A hat."] * 2, image=texts[:2])
    assert status == 200
    assert all(0 <= reward <= 1 for reward in answer["rewards"])
    status, edited = compute(prompt=["Add."], image=texts[1:2], condition_images=[texts[:1]])
    assert status == 200
    assert len(edited["rewards"]) == 1
    # A second condition picture is a reference, which the judge does not see.
    further = compute(prompt=["Add."], image=texts[1:2], condition_images=[[texts[0], texts[2]]])
    assert further == (200, edited)
    assert compute(prompt=["Add."], image=texts[1:2], condition_images=[[]])[0] == 400
    assert compute(prompt=["A hat."], image=[])[0] == 400
    assert compute(prompt=["A hat."], image=None)[0] == 400
    status, answer = compute(prompt=["A hat."], image=["bm90IGEgcGljdHVyZQ=="])
    assert status == 503
    assert "rewards" not in answer
    assert fetch(urllib.request.Request(rewards.wire[0] + "/health"))[0] == 200


def test_an_item_that_stays_invalid_fails_the_request(rewards):
    body = edits(3)
    body["images"][1] = b"no picture"
    status, told = post(rewards, "/mode/score_execution", body)
    assert status == 500
    assert "picture:not_a_picture" in told


def test_the_mean_of_its_group_takes_its_place_only_if_asked_for(start):
    rewards = start(trainer_wire={"port": 0, "fallback": "group_mean"})
    body = edits(3)
    body["images"][1] = b"no picture"
    status, answer = post(rewards, "/mode/score_execution", body)
    assert status == 200
    first, mean, third = answer["scores"]
    assert mean == pytest.approx((first + third) / 2)
    assert answer["valid"] == [True, False, True]
    text = rewards.get("/metrics")[1]
    assert "reward_fallback_total 1.0" in text
    assert 'seconds_count{route="/mode/score_execution",status="200"} 1.0' in text
    # Of another prompt it has no group.
    body["prompts"][1] = "Add two hats."
    assert post(rewards, "/mode/score_execution", body)[0] == 500


def test_firms_gen_trainers_blend_the_mean_of_a_group_themselves(start):
    rewards = start(trainer_wire={"port": 0, "fallback": "group_mean"}, gen_reward="qma")
    body = gens("mix", n=4)
    body["images"][2] = b"no picture"
    status, answer = post(rewards, "/mode/score", body)
    assert status == 200
    told = [json.loads(reasoning) for reasoning in answer["reasonings"]]
    mean = sum(told[i]["reward"] for i in (0, 1, 3)) / 3
    assert len({one["reward"] for one in told}) > 1
    # As they do: alignment, and the least of the parts of quality (FIRM-Reward at 575b715).
    quality = (min(told[2]["quality_subscores"]) - 1) / 4
    assert told[2]["ins_norm"] * (0.4 + 0.6 * quality) == pytest.approx(mean)
    assert told[2]["reward"] == pytest.approx(mean)
    assert answer["valid"] == [True, True, False, True]


def test_a_group_without_any_alignment_has_a_mean_too():
    scores = {"gen": {"value": 1.0}, "quality": {"value": 4.0}}
    mean = mean_answer([{"reward": 0.0, "scores": scores}] * 2)
    assert mean["reward"] == 0.0
    assert mean["scores"]["quality"]["value"] == 4.0


@pytest.mark.parametrize("flow_factory", [False, True])
def test_candidates_of_one_group_have_one_prompt_and_one_source(flow_factory):
    prompts, pictures = ["Add a hat."] * 3 + ["Add two."], [jpeg(9)] * 4
    sources = [jpeg(n) for n in (1, 2, 1, 1)]
    if flow_factory:
        sources = [as_text(one) for one in sources]
        body = {"prompt": prompts, "image": pictures, "condition_images": [[s] for s in sources]}
        _, groups = read_flow_factory(body, most=4)
    else:
        body = {"prompts": prompts, "images": pictures, "ref_images": sources}
        _, groups = read_edits(body, axes=AXES, most=4)
    assert groups[0] == groups[2]
    assert len({tuple(group) for group in groups}) == 3


@pytest.mark.parametrize(
    ("host", "inside"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:10.1.2.3", True),
        ("10.1.2.3", True),
        ("11.1.2.3", False),
        ("::ffff:11.1.2.3", False),
        ("", False),
    ],
)
def test_who_is_let_in(host, inside):
    wire = TrainerWire(allow=("10.0.0.0/8",))
    service = SimpleNamespace(settings=SimpleNamespace(trainer_wire=wire))
    request = SimpleNamespace(client=SimpleNamespace(host=host))
    with contextlib.nullcontext() if inside else pytest.raises(Refused):
        check_address(request, service)


@pytest.mark.parametrize(
    "body",
    [b"", b"junk", b"\x80", pickle.dumps([]), pickle.dumps({}), pickle.dumps({"images": 3})],
)
def test_whatever_comes_an_edit_route_answers_200_or_500(rewards, body):
    request = urllib.request.Request(rewards.wire[0] + "/mode/score_execution", body)
    assert fetch(request)[0] == 500


def test_an_edit_route_has_no_other_word_for_trouble_than_500(tmp_path):
    with stub_process() as judge, rewards_over(judge, tmp_path) as start:
        small = start(trainer_wire={"port": 0}, max_waiting=2, max_items=2, max_body_mb=0.05)
        large = edits(1) | {"metadatas": [{"more": b"x" * 60_000}]}
        for body, word in ((edits(3), "at most 2 items"), (large, "over max_body_mb")):
            status, told = post(small, "/mode/score_execution", body)
            assert (status, word in told) == (500, True)

        judge.become(latency_s=(1.0, 1.0))
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(post, small, "/mode/score_execution", edits(2)) for _ in range(8)]
            answers = [one.result() for one in asked]
        assert {status for status, _ in answers} == {200, 500}
        assert all("come again" in told for status, told in answers if status == 500)

        late = start(trainer_wire={"port": 0}, deadline_s=3)
        judge.become(latency_s=(5.0, 5.0))
        status, told = post(late, "/mode/logits_non_cot", edits(1))
        assert (status, "deadline" in told) == (500, True)
        judge.kill()
        status, told = post(late, "/mode/score_consistency", edits(1))
        judge.start()
        assert status == 500


def test_an_item_is_asked_for_again_before_it_is_given_up(tmp_path):
    bad_once = {"invalid_json_share": 1.0, "fault_attempts": 1}
    with stub_process(**bad_once) as judge, rewards_over(judge, tmp_path) as start:
        rewards = start(trainer_wire={"port": 0}, mode="reasoning")
        status, answer = post(rewards, "/mode/score_execution", edits(1))
        assert (status, answer["valid"]) == (200, [True])
        assert [one["kind"] for one in judge.requests()].count("judge_score_v1") == 2


class Evil:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (self.mark,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_nothing_that_a_pickle_says_is_run(rewards, tmp_path, protocol):
    mark = tmp_path / "run"
    data = pickle.dumps({**edits(1), "metadatas": [Evil(str(mark))]}, protocol)
    request = urllib.request.Request(rewards.wire[0] + "/mode/score_execution", data)
    assert fetch(request)[0] == 500
    assert not mark.exists()


def test_a_mode_that_is_no_text_is_refused(rewards):
    status, told = post(rewards, "/mode/score", gens() | {"reward_blend_mode": [["mix"]]})
    assert (status, told) == (500, "reward_blend_mode is a text")
