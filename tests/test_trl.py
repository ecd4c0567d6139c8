"""TRL's own GRPOTrainer with a reward server over a stub judge."""

import json
import math

import pytest
from real_servers import ROOT, run
from reward_cases import picture, rewards_over
from stub_process import stub_process
from training_cases import TRAIN_PYTHON, needs_trainers, training_env

from foundry.rewards.trl import picture_item

pytestmark = [
    pytest.mark.train,
    needs_trainers,
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What came of two steps by each way of asking, and how many questions that took."""
    folder = tmp_path_factory.mktemp("steps")
    picture(1).save(folder / "picture.png")
    with stub_process() as judge, rewards_over(judge, folder) as start:
        command = [TRAIN_PYTHON, str(ROOT / "tests/grpo_steps.py"), start().url, str(folder)]
        done = run(command, env=training_env())
        scored = len(judge.requests())
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), scored


@pytest.mark.parametrize("way", ["sync", "async", "rollout"])
def test_grpo_learns_from_what_was_scored_and_leaves_out_the_rest(trained, way):
    found = trained[0][way]
    assert len(found["given"]) == 8
    # Six of eight: one of each group of four has no reward, and no number in its place.
    assert sum(reward is not None for reward in found["given"]) == 6
    assert len(found["log"]) == 2
    for line, group in zip(found["log"], (found["given"][:4], found["given"][4:]), strict=True):
        valid = [reward for reward in group if reward is not None]
        assert len(valid) == 3
        # A None that TRL took for a 0 would draw the mean down.
        assert line["rewards/critic/mean"] == pytest.approx(sum(valid) / 3)
        assert line["rewards/critic/std"] > 0
        assert math.isfinite(line["loss"])
    assert found["moved"] > 0


def test_what_cannot_be_scored_is_not_asked_about(trained):
    found, scored = trained
    # Besides a probe at the start.
    assert scored - 1 <= 6 * len(found) <= scored


def test_a_set_of_edits_and_generated_pictures_has_none_for_the_others_columns():
    gen = {"prompt_text": "a cat", "generated_image": b"made"}
    edit = {"instruction": "no cat", "source_image": b"was", "edited_image": b"is"}
    nothing = dict.fromkeys([*gen, *edit])
    assert picture_item({**nothing, **gen})["task"] == "gen"
    assert picture_item({**nothing, **edit})["task"] == "edit"
    assert picture_item({**nothing, **edit, "edited_image": None}) is None
    assert picture_item(edit) == picture_item({**nothing, **edit})
    with pytest.raises(KeyError, match="no column generated_image"):
        picture_item({"prompt_text": "a cat"})
