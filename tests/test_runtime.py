"""When a run stops itself, and what a recipe may not hold."""

from random import Random

import pytest
from pydantic import ValidationError

from pipelines.endpoint_settings import Endpoint
from pipelines.runtime import is_surely_over


def stops_early(share, limit, seed, answers=3000):
    dice, rejected = Random(seed), 0
    for done in range(1, answers + 1):
        rejected += dice.random() < share
        if done >= 100 and is_surely_over(rejected, done, limit):
            return True
    return False


def test_a_run_that_ends_below_its_reject_share_is_not_stopped_by_chance():
    assert not any(stops_early(0.08, 0.1, seed) for seed in range(200))
    assert sum(stops_early(0.1, 0.1, seed) for seed in range(200)) <= 4


def test_a_run_that_is_well_above_it_is_stopped_soon():
    assert all(stops_early(0.3, 0.1, seed, answers=200) for seed in range(50))
    assert is_surely_over(100, 100, 0.5)
    assert not is_surely_over(100, 100, 1.0)


@pytest.mark.parametrize(
    "more",
    [
        {"headers": {"Authorization": "Bearer k"}},
        {"extra_body": {"api_key": "k"}},
        {"url": "http://h/v1?api_key=k"},
        {"url": "http://me:k@h/v1"},
        {"url": None, "launch": {"model": "m", "args": ["--api-key", "k"]}},
        {"url": None, "launch": {"model": "m", "args": ["--api-key=k"]}},
        {"url": None, "launch": {"model": "m", "args": ["--hf-token", "k"]}},
        {"url": None, "launch": {"model": "m", "command": ["serve", "--api-key", "k"]}},
        {"url": None, "launch": {"model": "m", "env": {"HF_TOKEN": "k"}}},
    ],
)
def test_a_recipe_with_a_secret_is_refused(more):
    with pytest.raises(ValidationError, match="no secrets in a recipe"):
        Endpoint.model_validate({"url": "http://h/v1", "model": "m", **more})


def test_settings_that_only_sound_like_a_secret_are_taken():
    arguments = ["--tokenizer", "t", "--max-num-batched-tokens=8192"]
    Endpoint.model_validate({"launch": {"model": "m", "args": arguments}})
    body = {"skip_special_tokens": True, "chat_template_kwargs": {"enable_thinking": False}}
    Endpoint.model_validate({"url": "http://h/v1", "model": "m", "extra_body": body})
