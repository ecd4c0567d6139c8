"""The GRPO example: what its policy reads and writes, and what it learns from."""

from concurrent.futures import Future
from dataclasses import replace
from itertools import islice
from random import Random
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import foundry.rewards.trl
from examples.grpo_shapeworld.edits import CLUMSY_EDITS, EDITS
from examples.grpo_shapeworld.pictures import PICTURES
from examples.grpo_shapeworld.prompts import (
    MEASURED,
    grpo_prompts,
    measured,
    warm_examples,
)
from examples.grpo_shapeworld.rewards import (
    reward_function,
    server_critic,
    true_critic,
    within_prompts,
)
from examples.grpo_shapeworld.scene_text import (
    MOST_WORDS,
    read_edited,
    read_scene,
    write_changes,
    write_scene,
)
from foundry.shapeworld.edit_truth import consistency_score, execution_score
from foundry.shapeworld.edits import random_edit
from foundry.shapeworld.scenes import make_scene, random_scene


@given(st.integers(0, 10_000))
def test_a_scene_comes_back_from_its_words(seed):
    scene = random_scene(Random(seed))
    text = write_scene(scene)
    assert len(text.split()) <= MOST_WORDS
    back = read_scene(text)
    assert write_scene(back) == text
    look = [(t.shape, t.colour, t.size, t.cell) for t in scene.things]
    assert [(t.shape, t.colour, t.size, t.cell) for t in back.things] == look


@pytest.mark.parametrize(
    "text",
    [
        "",
        "white",
        "; 4 large red circle",
        "pink ; 4 large red circle",
        "white ; large red circle",
        "white ; 9 large red circle",
        "white ; 4 red large circle",
        "white ; 4 large red circle ;",
        "white ; 4 large red circle ; 4 small blue star",
        "white cream ; 4 large red circle",
        "white" + "".join(f" ; {cell} large red circle" for cell in range(9)),
    ],
)
def test_a_text_that_tells_no_scene_is_none(text):
    assert read_scene(text) is None


SOURCE = read_scene("white ; 0 small red circle ; 4 large blue star")


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_changes_come_back_from_their_words(seed, other):
    source, edited = random_scene(Random(seed)), random_scene(Random(other))
    text = write_changes(source, edited)
    assert len(text.split()) <= MOST_WORDS
    assert write_scene(read_edited(source, text)) == write_scene(edited)
    assert (text == "same") == (write_scene(source) == write_scene(edited))


def test_changes_tell_what_is_otherwise_alone():
    edited = read_scene("mint ; 2 small red circle ; 4 large navy star")
    assert write_changes(SOURCE, edited) == "mint ; 0 none ; 2 small red circle ; 4 large navy star"
    assert write_changes(SOURCE, SOURCE) == "same"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "same same",
        "same ; 4 none",
        "none",
        "pink",
        "white ; mint",
        "4 none ;",
        "4 none none",
        "5 none",
        "9 small red circle",
        "4 none ; 4 small red circle",
        "4 red large circle",
        "0 none ; 4 none",
        " ; ".join(f"{cell} large red circle" for cell in range(9)),
    ],
)
def test_a_text_that_tells_no_changes_is_none(text):
    assert read_edited(SOURCE, text) is None


@pytest.mark.parametrize(
    "text", ["same", "white", "4 large blue star", "white ; 0 small red circle"]
)
def test_what_is_told_as_it_was_is_no_change(text):
    assert read_edited(SOURCE, text) == make_scene(SOURCE.background, list(SOURCE.things))


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("same", [0, 1]),
        ("0 small lime cross", [0, 1]),
        ("0 none ; 4 none ; 8 small red circle", [0]),
        ("0 none ; 2 large gold star", [2, 1]),
        ("1 small gold star ; 2 large blue star ; 4 none", [0, 2, 1]),
    ],
    ids=["as it was", "replaced", "moved", "new", "the likest moved"],
)
def test_things_of_an_edit_are_known_by_place_then_by_shape(text, keys):
    assert [thing.key for thing in read_edited(SOURCE, text).things] == keys


def test_an_edit_read_from_its_words_has_the_scores_that_it_was_made_with():
    same = 0
    for number, asked in enumerate(islice(grpo_prompts(EDITS, 0), 200)):
        dice, want = Random(number), asked.wish
        aims = {"execution": dice.randint(1, 5), "consistency": dice.randint(1, 5)}
        made = random_edit(dice, want.source, unseen=False, asked=want.requests, **aims)
        assert made.requests == want.requests
        # Words leave patterns out.
        things = [replace(thing, pattern="plain") for thing in made.edited.things]
        shown = make_scene(made.edited.background, things)
        truth = EDITS.truth(asked, EDITS.read(asked, write_changes(want.source, shown)))
        both = [f(want.source, shown, want.requests) for f in (execution_score, consistency_score)]
        same += [truth["execution"], truth["consistency"]] == both
    # The rest moved and changed their shape at once.
    assert same >= 196


def test_an_edit_that_does_nothing_earns_half_of_the_sum_and_nothing_of_cme():
    for asked in measured(EDITS)[:50]:
        truth = EDITS.truth(asked, EDITS.read(asked, "same"))
        assert truth == {"execution": 1, "consistency": 5, "unchanged": 1.0}
        assert EDITS.formulas["sum"](truth) == 0.5
        assert EDITS.formulas["cme"](truth) == 0


def truths(task, n=400):
    found = []
    for number, asked in enumerate(islice(grpo_prompts(task, 0), n)):
        text = task.example(asked, Random(number))
        assert len(text.split()) <= MOST_WORDS
        found.append(task.truth(asked, task.read(asked, text)))
    return found


@pytest.mark.parametrize(
    ("task", "measure"), [(PICTURES, "score"), (EDITS, "execution"), (EDITS, "consistency")]
)
def test_examples_of_a_start_are_of_every_score(task, measure):
    scores = [truth[measure] for truth in truths(task)]
    assert all(scores.count(score) > 20 for score in range(1, 6))


def test_the_clumsy_start_earns_less_than_doing_nothing_on_the_sum_and_more_on_cme():
    found = truths(CLUMSY_EDITS)
    idle = [truth for truth in found if truth["unchanged"]]
    right = [truth for truth in found if truth["execution"] == truth["consistency"] == 5]
    rest = [truth for truth in found if truth not in idle and truth not in right]
    assert 0.2 < len(idle) / len(found) < 0.45
    assert 0.005 < len(right) / len(found) < 0.03
    earned = {name: fmean(map(formula, rest)) for name, formula in EDITS.formulas.items()}
    assert earned["sum"] < 0.35
    assert earned["cme"] > 0.2


@pytest.mark.parametrize("task", [PICTURES, EDITS], ids=["gen", "edits"])
def test_no_prompt_is_both_measured_and_learnt_from(task):
    kept = {asked.wish for asked in measured(task)}
    assert len(kept) == MEASURED == len(measured(task))
    texts = {asked.text for asked in measured(task)}
    assert texts.isdisjoint(text for text, _ in islice(warm_examples(task), 1000))
    for seed in (0, 1):
        assert kept.isdisjoint(asked.wish for asked in islice(grpo_prompts(task, seed), 500))


def test_seeds_go_by_other_prompts_and_all_are_measured_on_the_same():
    first, other = (
        [asked.text for asked in islice(grpo_prompts(PICTURES, seed), 20)] for seed in (0, 1)
    )
    assert first != other
    assert measured(EDITS) == measured(CLUMSY_EDITS)


def rewarded(task, critic, asked, texts):
    """Rewards of texts, and what was logged."""
    logged = {}
    function = reward_function(task, next(iter(task.formulas)), critic, asked)
    numbers = list(range(len(texts)))
    return function(completions=texts, number=numbers, log_metric=logged.__setitem__), logged


def test_a_text_without_a_scene_earns_nothing_and_counts_as_the_worst():
    asked = list(islice(grpo_prompts(PICTURES, 0), 3))
    good = next(
        scene
        for number in range(1000)
        if PICTURES.truth(asked[0], scene := read_scene(PICTURES.example(asked[0], Random(number))))
        == {"score": 5}
    )
    texts = [write_scene(good), "red red red", ""]
    critic = true_critic(PICTURES, "alignment")
    assert rewarded(PICTURES, critic, asked, texts) == (
        [1.0, 0.0, 0.0],
        {"scenes": 1 / 3, "unscored": 0, "true_score": (5 + 1 + 1) / 3, "reward_error": 0},
    )


def test_the_correlation_is_that_among_texts_for_one_prompt():
    # Between the prompts the two agree; within the first they are opposite, within the second one
    # does not vary, within the third they agree at four times the size.
    both = [
        (7, 0.1, 0.2),
        (7, 0.2, 0.1),
        (8, 0.9, 0.8),
        (8, 0.9, 0.9),
        (9, 0.5, 0.4),
        (9, 0.9, 0.8),
    ]
    ours, true = [-0.05, 0.05, 0, 0, -0.2, 0.2], [0.05, -0.05, -0.05, 0.05, -0.2, 0.2]
    wanted = float(np.corrcoef(ours, true)[0, 1])
    assert within_prompts(both) == pytest.approx(wanted)
    assert within_prompts(both[:2]) == pytest.approx(-1)
    assert within_prompts([(1, 0.1 + 0.2, 0.5), (1, 0.3, 0.7)]) is None
    assert within_prompts([]) is None


def test_how_far_off_a_critic_is_is_logged_of_what_it_scored_alone():
    asked = list(islice(grpo_prompts(EDITS, 0), 3))
    # Doing nothing earns nothing by CME, and half by the sum.
    texts = ["same", "same", "no scene"]

    def logged(*given):
        return rewarded(EDITS, lambda _: list(given), asked, texts)[1]

    assert logged(0.25, 0.75, None)["reward_error"] == 0.5
    assert logged(0.25, None, None)["reward_error"] == 0.25
    assert "reward_error" not in logged(None, None, None)


@pytest.mark.parametrize("task", [PICTURES, EDITS], ids=["gen", "edits"])
def test_a_server_gets_what_was_drawn_and_what_it_cannot_score_stays_none(task, monkeypatch):
    asked = list(islice(grpo_prompts(task, 0), 3))
    texts = [task.example(asked[0], Random(0)), "no scene", task.example(asked[2], Random(2))]
    if task is EDITS:
        texts[0] = "same"
    sent = []

    class There:
        def __init__(self, url):
            assert url == "http://there"

        def score(self, items):
            sent.extend(items)
            answers = Future()
            answers.set_result([{"reward": 0.25}, {"reward": None}])
            return answers

    monkeypatch.setattr(foundry.rewards.trl, "BackgroundClient", There)
    rewards, logged = rewarded(task, server_critic(task, "http://there"), asked, texts)
    assert rewards == [0.25, 0.0, None]
    assert (logged["scenes"], logged["unscored"]) == (2 / 3, 1 / 3)
    words = [asked[i].text if task is PICTURES else asked[i].wish.instruction for i in (0, 2)]
    assert [item.get("prompt") or item["instruction"] for item in sent] == words
    if task is EDITS:
        assert all(item["source_image"] != item["edited_image"] for item in sent)
