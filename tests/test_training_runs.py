"""What a training measures, and the folder of a run: without torch."""

import shutil
from random import Random

import pytest
from huggingface_hub import constants
from hypothesis import given
from hypothesis import strategies as st
from training_cases import recipe

from pipelines.recipe_files import RecipeRefused
from pipelines.replies import SCORES, Choice
from pipelines.weights import folder_digest
from trainers.base_model import weights_digest
from trainers.card import model_card
from trainers.measures import measures, read_score
from trainers.run_folder import began_with, begin, last_checkpoint
from trainers.run_log import cut_log, in_words, read_log, write_line

# Measures.


def test_measures_are_those_worked_by_hand():
    # Read: |5-4| and |1-1|, and |3-3| with |2-5|; one reply of each axis could not be read.
    triples = [("execution", 5, 4), ("execution", 1, 1), ("execution", 5, None)]
    triples += [("consistency", 3, 3), ("consistency", 2, 5), ("consistency", 2, None)]
    found = measures("score", triples)
    assert found["score_mae"] == pytest.approx((1 + 0 + 0 + 3) / 4)
    assert found["score_execution_mae"] == pytest.approx(0.5)
    assert found["score_consistency_mae"] == pytest.approx(1.5)
    assert (found["score_unread"], found["score_rows"]) == (2, 6)
    # Of 5, 1, 5 a constant 5 is off by 4/3; of 3, 2, 2 a constant 2 by 1/3.
    assert found["score_execution_constant_mae"] == pytest.approx(4 / 3)
    assert found["score_consistency_constant_mae"] == pytest.approx(1 / 3)


def test_replies_that_cannot_be_read_are_counted_and_never_a_score():
    found = measures("score", [("gen", 3, None), ("gen", 4, None)])
    assert (found["score_mae"], found["score_unread"], found["score_rows"]) == (None, 2, 2)
    assert set(found) == {"score_mae", "score_unread", "score_rows", "score_constant_mae"}
    assert "MAE - (a constant 0.50), 2 of 2 unread" in in_words(found)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["execution", "consistency"]),
            st.sampled_from(SCORES),
            st.sampled_from([*SCORES, None]),
        ),
        min_size=1,
    )
)
def test_measures_of_the_axes_add_up_to_those_of_all(triples):
    found = measures("score", triples)
    assert found["score_rows"] == len(triples)
    assert found["score_unread"] == sum(given is None for _, _, given in triples)
    assert (found["score_mae"] is None) == (found["score_unread"] == found["score_rows"])
    parts = [name for name in ("score_execution", "score_consistency") if f"{name}_rows" in found]
    if len(parts) == 2:
        for what in ("rows", "unread"):
            assert sum(found[f"{part}_{what}"] for part in parts) == found[f"score_{what}"]
        read = {part: found[f"{part}_rows"] - found[f"{part}_unread"] for part in parts}
        total = sum((found[f"{part}_mae"] or 0) * n for part, n in read.items())
        assert total == pytest.approx((found["score_mae"] or 0) * sum(read.values()))


@pytest.mark.parametrize(
    ("content", "finish", "score"),
    [
        ('{"reasoning":"As asked.","score":4}', "stop", 4),
        ('{"reasoning":"As asked.","score":4}', "length", None),
        ('{"reasoning":"As asked.","score":6}', "stop", None),
        ('{"score":4}', "stop", None),
        ("4", "stop", None),
        ("", "stop", None),
    ],
)
def test_a_reply_is_read_as_the_factory_reads_it(content, finish, score):
    reply = Choice(content=content, finish_reason=finish)
    assert read_score(reply, axis="execution", score_only=False) == score


# The folder of a run.


def checkpoint(output, step, *, whole=True):
    folder = output / "checkpoints" / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    if whole:
        (folder / "trainer_state.json").write_text("{}")
    return folder


def test_a_run_goes_on_from_the_last_checkpoint_that_is_whole(tmp_path):
    output = tmp_path / "out"
    assert begin(output, recipe(tmp_path), [{"sha256": "a"}]) is None
    checkpoint(output, 9)
    wanted = checkpoint(output, 10)
    checkpoint(output, 11, whole=False)
    assert last_checkpoint(output) == wanted
    assert begin(output, recipe(tmp_path), [{"sha256": "a"}]) == wanted


def test_a_run_does_not_go_on_with_another_recipe_or_other_rows(tmp_path):
    output = tmp_path / "out"
    begin(output, recipe(tmp_path), [{"sha256": "a"}])
    begin(output, recipe(tmp_path, seed=1), [{"sha256": "b"}])  # nothing was learnt yet
    checkpoint(output, 10)
    with pytest.raises(RecipeRefused, match="began with learning_rate 1e-05, now 2e-05"):
        begin(output, recipe(tmp_path, seed=1, learning_rate=2e-5), [{"sha256": "b"}])
    with pytest.raises(RecipeRefused, match="began with other rows"):
        begin(output, recipe(tmp_path, seed=1), [{"sha256": "a"}])
    free = {"log_every_steps": 1, "save_every_steps": 7, "workers": 0, "keep_checkpoints": 9}
    # Less at once, after memory ran out while scores were measured.
    free |= {"evaluation": {"rows": 5, "batch": 1}}
    assert begin(output, recipe(tmp_path, seed=1, **free), [{"sha256": "b"}])


def test_a_run_does_not_go_on_from_other_weights_under_the_same_name(tmp_path):
    model, output = tmp_path / "base", tmp_path / "out"
    model.mkdir()
    (model / "config.json").write_text("{}")
    weights = bytearray(Random(0).randbytes(6_000_000))
    (model / "model.safetensors").write_bytes(weights)
    from_it = recipe(tmp_path).model_copy(update={"model": str(model)})
    facts = [{"sha256": "a"}]
    begin(output, from_it, facts)
    wanted = checkpoint(output, 10)
    assert begin(output, from_it, facts) == wanted
    # As a training changes it: of the same shape, other values all over.
    changed = bytes((byte + (i % 977 == 0)) % 256 for i, byte in enumerate(weights))
    (model / "model.safetensors").write_bytes(changed)
    for check in (lambda: begin(output, from_it, facts), lambda: began_with(output)):
        with pytest.raises(RecipeRefused, match=f"began with other weights than model {model} has"):
            check()
    (model / "model.safetensors").write_bytes(weights)
    (model / "config.json").write_text('{"more": 1}')
    with pytest.raises(RecipeRefused, match="began with other weights"):
        begin(output, from_it, facts)
    (model / "config.json").write_text("{}")
    assert begin(output, from_it, facts) == wanted
    # A base that is gone, or a run that began before this was noted, is not held against a run.
    shutil.rmtree(model)
    assert began_with(output).model == str(model)
    assert begin(output, from_it, facts) == wanted


def test_of_settings_every_byte_tells_models_apart(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    words = bytearray(b" " * 5_000_000)
    found = set()
    for place in (0, 1_234_567, 4_999_999):
        words[place] = ord("x")
        (tmp_path / "tokenizer.json").write_bytes(words)
        found.add(folder_digest(tmp_path))
    assert len(found) == 3


def test_a_model_on_the_hub_is_known_by_the_commit_of_its_copy(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert weights_digest("org/name", None) is None
    folder = tmp_path / "models--org--name"
    for commit in ("abc", "def"):
        (folder / "snapshots" / commit).mkdir(parents=True)
        (folder / "snapshots" / commit / "preprocessor_config.json").write_text("{}")
        (folder / "refs").mkdir(exist_ok=True)
        (folder / "refs" / "main").write_text(commit)
        assert weights_digest("org/name", None) == commit
    assert weights_digest("org/name", "abc") == "abc"


def test_the_log_is_cut_to_the_step_that_a_run_goes_on_from(tmp_path):
    for step in (1, 2, 3, 3, 4):
        write_line(tmp_path / "log.jsonl", step, {"loss": float("nan")})
    with open(tmp_path / "log.jsonl", "a") as file:
        file.write('{"step": 5, "lo')
    cut_log(tmp_path, 3)
    assert [line["step"] for line in read_log(tmp_path)] == [1, 2, 3, 3]
    assert read_log(tmp_path)[0]["loss"] is None


def test_the_card_names_data_recipe_prompts_and_the_last_measures(tmp_path):
    fact = {"path": "builds/a|b", "kind": "gen", "sha256": "c" * 64, "left_out": {"<|im_end|>": 2}}
    fact |= {
        "prompts": [["judge_gen.v1", "e" * 64]],
        "system": [["system.v1", "f" * 64]],
        "in_validation": 3,
        "rows": {"train": 1234},
        "build_git_commit": "abc123",
        "manifest_sha256": "d" * 64,
    }
    before, after = (measures("score", [("gen", 3, given)]) for given in (None, 2))
    log = [
        {"step": 0, **{f"eval_{name}": value for name, value in before.items()}},
        {"step": 7, "loss": 0.5},
        {"step": 7, "eval_loss": 0.25},
        {"step": 7, **{f"eval_{name}": value for name, value in after.items()}},
    ]
    card = model_card(recipe(tmp_path), [fact], log)
    assert "Not measured." in model_card(recipe(tmp_path), [fact], [])
    assert "| builds/a\\|b | gen | 1,234 | 0 | `cccccccccccccccc` | `abc123` |" in card
    assert "2 rows of builds/a\\|b contain" in card
    assert "3 training rows of builds/a\\|b share their prompt or source picture" in card
    assert "| score | 1 | 1.000 | 0 | 0.000 |" in card
    assert "| step | training loss | validation loss | score MAE |" in card
    assert "| 7 | 0.500 | 0.250 | 1.000 |" in card
    assert f"| `judge_gen.v1` | `{'e' * 64}` |" in card
    assert "`judge_edit.v1`" not in card
    assert "learning_rate: 1.0e-05" in card
