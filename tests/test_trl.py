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


@pytest.mark.parametrize("way", ["sync", "async", "rollout"])
def test_grpo_learns_from_what_was_scored_and_leaves_out_the_rest(tmp_path, way):
    picture(1).save(tmp_path / "picture.png")
    with stub_process() as judge, rewards_over(judge, tmp_path) as start:
        url = start().url
        command = [TRAIN_PYTHON, str(ROOT / "tests/grpo_steps.py"), url, str(tmp_path), way]
        done = run(command, env=training_env())
        scored = len(judge.requests())
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found["given"]) == 8
    # Six of eight: one of each group of four has no reward, and no number in its place.
    assert scored - 1 <= 6 <= scored
    assert len(found["log"]) == 2
    for line, group in zip(found["log"], (found["given"][:4], found["given"][4:]), strict=True):
        valid = [reward for reward in group if reward is not None]
        assert len(valid) == 3
        # A None that TRL took for a 0 would draw the mean down.
        assert line["rewards/critic/mean"] == pytest.approx(sum(valid) / 3)
        assert line["rewards/critic/std"] > 0
        assert math.isfinite(line["loss"])
    assert found["moved"] > 0


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
