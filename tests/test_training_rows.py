"""Recipes of trainings, the rows that they learn from, the folder of a run: all without torch."""

import io
import json
import shutil
from hashlib import sha256
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dataset_cases import make_row, picture, write_build
from huggingface_hub import constants
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from real_servers import PYTHON, ROOT, run
from training_cases import command_of, pair_build, world_build

from pipelines.dataset_reading import DatasetUnreadable
from pipelines.export.conversations import ExportRefused
from pipelines.pictures import PictureLimits, prepare_picture
from pipelines.recipe_files import RecipeRefused, check_recipe, load_recipe, parse_settings
from pipelines.rendering import SYSTEM_PROMPT
from pipelines.replies import SCORES, Choice
from prompts import load_prompt
from trainers.base_model import weights_digest
from trainers.card import model_card
from trainers.measures import measures, read_score
from trainers.pairs import open_pairs
from trainers.rows import open_rows
from trainers.run_folder import began_with, begin, last_checkpoint
from trainers.run_log import cut_log, in_words, read_log, write_line
from trainers.settings import DpoRecipe, SftRecipe

RECIPES = sorted((ROOT / "trainers/recipes").glob("*.yaml"))
PLACE = {"data": "d", "output": "o"}


# Recipes.


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_is_accepted(path):
    model = DpoRecipe if "dpo" in path.stem else SftRecipe
    assert load_recipe(path, model, PLACE).data == ("d",)


def test_the_8b_recipes_are_the_published_settings():
    for name, batch in (("edit_8b_sft", 160), ("gen_8b_sft", 80)):
        recipe = load_recipe(ROOT / f"trainers/recipes/{name}.yaml", SftRecipe, PLACE)
        assert (recipe.batch, recipe.learning_rate, recipe.warm_up) == (batch, 1e-5, 0.1)
        assert (recipe.schedule, recipe.epochs, recipe.lora) == ("cosine", 1, None)


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("learning_rat=1", "learning_rat: no such field; did you mean learning_rate?"),
        ("lora={rnak: 4}", "lora.rnak: no such field; did you mean rank?"),
        ("evaluation.row=4", "evaluation.row: no such field; did you mean rows?"),
        ("zzz=1", "zzz: no such field; there are attention, batch, data,"),
        ("device_batch=7", "batch 64 is not a multiple of device_batch 7"),
        ("precision=fp4", "precision: Input should be 'bfloat16' or 'float32'"),
    ],
)
def test_a_wrong_field_is_refused_by_name(word, told):
    with pytest.raises(RecipeRefused) as refused:
        check_recipe({"model": "m", **PLACE}, SftRecipe, parse_settings([word]), where="r.yaml")
    assert told in str(refused.value)


def test_the_command_refuses_a_wrong_recipe_in_one_line_without_loading_torch(tmp_path):
    done = run(command_of("sft", tmp_path / "out", ["d"], "bach=8", python=PYTHON))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "  bach: no such field; did you mean batch?"
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_every_field_of_a_training_recipe_is_documented():
    text = (ROOT / "docs/training.md").read_text()
    names = set(SftRecipe.model_fields) | set(DpoRecipe.model_fields)
    for field in ("lora", "evaluation"):
        inner = SftRecipe.model_fields[field].annotation
        inner = next(t for t in getattr(inner, "__args__", (inner,)) if t is not type(None))
        names |= set(inner.model_fields)
    assert {name for name in names if f"`{name}`" not in text} == set()


# Rows.


@pytest.fixture(scope="module")
def builds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("builds")
    return [str(world_build(folder / kind, kind, 8)) for kind in ("edit", "gen")]


def test_rows_are_conversations_whose_pictures_are_those_that_the_judge_saw(builds):
    rows = open_rows(builds, score_only_share=0.5, seed=0)
    assert [fact["kind"] for fact in rows.facts] == ["edit", "gen"]
    assert sum(sum(fact["rows"].values()) for fact in rows.facts) == 8 * 2 + 8
    for split in rows.splits.values():
        for row, example in zip(split.with_format(None), split, strict=True):
            assert example == rows.ask(row, row["score_only"])
            assert [turn["role"] for turn in example["prompt"]] == ["system", "user"]
            reply = json.loads(example["completion"][0]["content"])
            assert list(reply) == (["score"] if row["score_only"] else ["reasoning", "score"])
            assert reply["score"] == row["score"]
            assert len(example["images"]) == (1 if row["axis"] is None else 2)
            assert row["prompt" if row["axis"] is None else "instruction"] in str(example["prompt"])
    assert {row["score_only"] for row in rows.splits["train"].with_format(None)} == {True, False}


@pytest.mark.parametrize("place", ["inside", "kept by the build", "prepared again"])
def test_a_picture_is_the_one_that_was_seen(tmp_path, place):
    data = picture(3, size=(64, 48), form="BMP")
    seen = prepare_picture(data).seen
    assert seen is not None
    if place == "inside":
        data = seen
    digest, wanted = sha256(data).hexdigest(), sha256(seen).hexdigest()
    row = make_row("gen", 1, pictures={"image": data}, image_seen_sha256=wanted)
    build = write_build(tmp_path / "b", "gen", [row])
    if place == "kept by the build":
        kept = build / "pictures" / "seen" / "x" / digest[:2] / f"{digest}.jpg"
        kept.parent.mkdir(parents=True)
        kept.write_bytes(seen)
    example = open_rows([str(build)], score_only_share=0, seed=0).splits["train"][0]
    wanted_image = Image.open(io.BytesIO(seen)).convert("RGB")
    assert example["images"][0].tobytes() == wanted_image.tobytes()


def test_with_evidence_the_reasoning_tells_first_what_the_judge_had_before_it(tmp_path):
    hat = {"subject": "hat", "category": "colour", "before": "red", "after": "blue"}
    row = make_row("edit", 1, obvious=[hat], detailed=[], reasoning="The hat is blue.")
    build = str(write_build(tmp_path / "b", "edit", [row]))

    def learnt(score_only_share):
        rows = open_rows([build], score_only_share=score_only_share, seed=0, evidence=True)
        return json.loads(rows.splits["train"][0]["completion"][0]["content"])

    told = "hat: colour, red -> blue. The hat is blue."
    assert learnt(0) == {"reasoning": told, "score": 3}
    assert learnt(1) == {"score": 3}


@pytest.fixture
def published_small(tmp_path):
    """A published dataset whose judge was shown pictures of at most 32 pixels a side."""
    limits = {"max_side_px": 32}
    data = picture(3, size=(64, 48))
    seen = prepare_picture(data, PictureLimits(**limits)).seen
    row = make_row("gen", 1, pictures={"image": data}, image_seen_sha256=sha256(seen).hexdigest())
    build = write_build(tmp_path / "b", "gen", [row])
    folder = tmp_path / "published"
    shutil.copytree(build / "dataset", folder / "data")
    return folder, limits


def test_a_published_dataset_tells_how_its_pictures_were_shown(published_small):
    folder, limits = published_small
    (folder / "asked_with").mkdir()
    (folder / "asked_with/images.json").write_text(json.dumps(limits))
    rows = open_rows([str(folder)], score_only_share=0, seed=0)
    assert rows.splits["train"][0]["images"][0].size == (32, 24)


def test_limits_that_are_none_are_named(published_small):
    folder, _ = published_small
    (folder / "asked_with").mkdir()
    (folder / "asked_with/images.json").write_text('{"max_side_px": "small"}')
    for place in (folder, folder / "data"):
        with pytest.raises(DatasetUnreadable, match=r"images\.json: no limits of pictures"):
            open_rows([str(place)], score_only_share=0, seed=0)


def test_a_picture_that_any_limits_make_alike_hides_no_other(tmp_path):
    any_limits = picture(5, size=(20, 16), form="BMP")
    large = picture(3, size=(64, 48))
    rows = []
    for number, data in enumerate((any_limits, large)):
        seen = sha256(prepare_picture(data, PictureLimits(max_side_px=32)).seen).hexdigest()
        rows.append(make_row("gen", number, pictures={"image": data}, image_seen_sha256=seen))
    build = write_build(tmp_path / "b", "gen", rows)
    with pytest.raises(DatasetUnreadable, match=f"row {rows[1]['row_id']}, image"):
        open_rows([str(build)], score_only_share=0, seed=0)


def test_pictures_that_the_judge_saw_otherwise_are_refused_at_the_start(published_small):
    folder, _ = published_small
    with pytest.raises(DatasetUnreadable, match=r"does not tell its own.*images\.json"):
        open_rows([str(folder)], score_only_share=0, seed=0)


def test_the_digest_is_of_what_is_learnt(tmp_path):
    def digest(**change):
        build = write_build(tmp_path / "b", "gen", [make_row("gen", i, **change) for i in range(3)])
        return open_rows([str(build)], score_only_share=0.2, seed=0).facts[0]["sha256"]

    first = digest()
    assert digest() == first
    assert digest(score=4) != first
    assert digest(reasoning="Another.") != first
    assert digest(pictures={"image": picture(99)}) != first


def test_rows_that_hold_a_token_of_the_template_are_left_out_and_counted(tmp_path):
    rows = [make_row("gen", 1, prompt="A <|image_pad|> sign."), make_row("gen", 2)]
    facts = open_rows(
        [str(write_build(tmp_path / "b", "gen", rows))], score_only_share=0, seed=0
    ).facts
    assert facts[0]["left_out"] == {"<|image_pad|>": 1}
    assert facts[0]["rows"] == {"train": 1}


def test_a_row_that_no_student_could_answer_is_refused_by_its_id(tmp_path):
    build = write_build(tmp_path / "b", "gen", [make_row("gen", 5, score=9)])
    with pytest.raises(ExportRefused, match="row 00000000000000000005"):
        open_rows([str(build)], score_only_share=0, seed=0)


def test_a_picture_that_is_another_one_is_refused_by_its_row(tmp_path):
    row = make_row("gen", 5) | {"image": {"bytes": picture(6), "path": "x.png"}}
    rows = open_rows([str(write_build(tmp_path / "b", "gen", [row]))], score_only_share=0, seed=0)
    with pytest.raises(DatasetUnreadable, match=r"row 00000000000000000005, image: x\.png is not"):
        rows.splits["train"][0]


def test_a_dataset_without_rows_to_train_on_is_refused(tmp_path):
    build = write_build(tmp_path / "b", "gen", [make_row("gen", 5, split="validation")])
    with pytest.raises(DatasetUnreadable, match="no rows of split 'train'"):
        open_rows([str(build)], score_only_share=0, seed=0)


def split_build(folder, kind, split, numbers, **change):
    """A build whose rows are all of one split; a number decides a row's pictures and texts."""
    rows = [make_row(kind, i, split=split, **change) for i in numbers]
    return str(write_build(folder, kind, rows))


@pytest.mark.parametrize("kind", ["edit", "gen"])
def test_a_training_row_that_another_dataset_validates_on_is_left_out_and_counted(tmp_path, kind):
    one = split_build(tmp_path / "a", kind, "train", range(4))
    other = split_build(tmp_path / "b", kind, "validation", (2,))
    rows = open_rows([one, other], score_only_share=0, seed=0)
    kept = {row["row_id"] for row in rows.splits["train"].with_format(None)}
    # Rows 2n and 2n + 1 of generated pictures have one prompt.
    assert kept == {f"{i:020x}" for i in ((0, 1, 3) if kind == "edit" else (0, 1))}
    assert [fact["in_validation"] for fact in rows.facts] == [4 - len(kept), 0]
    assert [fact["rows"] for fact in rows.facts] == [{"train": len(kept)}, {"validation": 1}]
    assert len(rows.splits["validation"]) == 1
    card = model_card(recipe(tmp_path), rows.facts, [])
    assert f"{4 - len(kept)} training rows of {one}" in card.replace("\\", "")
    alone = open_rows([one], score_only_share=0, seed=0)
    assert (len(alone.splits["train"]), alone.facts[0]["in_validation"]) == (4, 0)


def test_nothing_left_to_learn_from_says_why(tmp_path):
    folders = [
        split_build(tmp_path / split, "gen", split, (1,)) for split in ("train", "validation")
    ]
    with pytest.raises(DatasetUnreadable, match="to learn from: all 1 share a prompt or source"):
        open_rows(folders, score_only_share=0, seed=0)


# Pairs.


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("kind", ["edit", "gen"])
def test_training_pairs_of_what_another_set_validates_on_are_left_out(tmp_path, kind, named):
    folder = pair_build(tmp_path / "a", kind, 8)
    place, other = folder / "preferences", tmp_path / "b"
    other.mkdir()
    train = pq.read_table(place / "train-00000-of-00001.parquet")
    rows = train.to_pylist()
    if named:
        for row in rows:
            for cell in row["images"]:
                cell["path"] = f"{sha256(cell['bytes']).hexdigest()}.jpg"
        pq.write_table(pa.Table.from_pylist(rows), place / "train-00000-of-00001.parquet")
    shared = [row for row in rows if row["images"][0] == rows[0]["images"][0]]
    if kind == "gen":
        shared = [row for row in rows if row["prompt"] == rows[0]["prompt"]]
    pq.write_table(pa.Table.from_pylist(rows[:1]), other / "validation-00000-of-00001.parquet")
    pairs = open_pairs([str(folder), str(other)])
    assert 0 < len(shared) < len(rows)
    assert [fact["in_validation"] for fact in pairs.facts] == [len(shared), 0]
    assert len(pairs.splits["train"]) == len(rows) - len(shared)


def test_pairs_are_what_trl_wants_with_their_pictures(tmp_path):
    folder = pair_build(tmp_path / "pairs", "edit", 8)
    pairs = open_pairs([str(folder)])
    assert pairs.facts[0]["rows"] == {"train": 12, "validation": 4}
    assert pairs.facts[0]["prompts"] == [["judge_edit.v1", "a" * 64]]
    assert pairs.facts[0]["system"] == [[SYSTEM_PROMPT, load_prompt(SYSTEM_PROMPT).sha256]]
    for row, example in zip(
        pairs.splits["train"].with_format(None), pairs.splits["train"], strict=True
    ):
        chosen, rejected = (json.loads(example[s][0]["content"]) for s in ("chosen", "rejected"))
        assert chosen["score"] == row["score"] != rejected["score"]
        assert chosen["reasoning"] == rejected["reasoning"]
        assert [turn["role"] for turn in example["prompt"]] == ["system", "user"]
        assert [image.mode for image in example["images"]] == ["RGB", "RGB"]
        asked = pairs.ask(row, False)
        assert (asked["prompt"], asked["images"]) == (example["prompt"], example["images"])


def test_the_card_of_pairs_lists_the_prompts_that_their_replies_were_given_to(tmp_path):
    facts = open_pairs([str(pair_build(tmp_path / "a", "gen", 4))]).facts
    path = next((tmp_path / "a" / "preferences").glob("train-*"))
    card = model_card(recipe(tmp_path), facts, [])
    assert f"| `judge_gen.v1` | `{'a' * 64}` |" in card
    assert load_prompt("judge_gen.v1").sha256 not in card
    bare = pq.read_table(path).drop_columns(
        [f"{side}_prompt_{what}" for side in ("chosen", "rejected") for what in ("id", "sha256")]
    )
    rows = bare.to_pylist()
    for row in rows:
        row["prompt"][0]["content"] = "Be kind."
    (tmp_path / "b").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "b" / path.name)
    card = model_card(recipe(tmp_path), open_pairs([str(tmp_path / "b")]).facts, [])
    assert f"| `another system text` | `{sha256(b'Be kind.').hexdigest()}` |" in card
    assert "do not say which prompts they answer." in card


def test_preferences_that_are_not_whole_are_refused(tmp_path):
    folder = pair_build(tmp_path / "pairs", "gen", 4)
    train = folder / "preferences" / "train-00000-of-00001.parquet"
    (folder / "manifest.json").unlink()
    with pytest.raises(DatasetUnreadable, match="its last run did not finish"):
        open_pairs([str(folder)])
    train.rename(train.with_name("train-00000-of-00002.parquet"))
    with pytest.raises(DatasetUnreadable, match="1 of 00002 files of split 'train'"):
        open_pairs([str(folder / "preferences")])
    with pytest.raises(DatasetUnreadable, match="no pairs here"):
        open_pairs([str(tmp_path)])
    (folder / "build.json").write_text("{}")
    with pytest.raises(DatasetUnreadable, match=r"holds pairs of replies, for trainers\.dpo"):
        open_rows([str(folder)], score_only_share=0, seed=0)
    build = world_build(tmp_path / "b", "gen", 4)
    with pytest.raises(DatasetUnreadable, match="no pairs, columns missing: axis, chosen, images"):
        open_pairs([str(build / "dataset")])


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


def recipe(tmp_path, **change):
    return SftRecipe(model="m", data=("d",), output=str(tmp_path / "out"), **change)


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
    # A base that is gone, or a run that began before this was noted, is not held against a run.
    shutil.rmtree(model)
    assert began_with(output).model == str(model)
    assert begin(output, from_it, facts) == wanted


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
    assert "| builds/a\\|b | gen | 1,234 | 0 | `cccccccccccccccc` | `abc123` |" in card
    assert "2 rows of builds/a\\|b contain" in card
    assert "3 training rows of builds/a\\|b share their prompt or source picture" in card
    assert "| score | 1 | 1.000 | 0 | 0.000 |" in card
    assert "| step | training loss | validation loss | score MAE |" in card
    assert "| 7 | 0.500 | 0.250 | 1.000 |" in card
    assert f"| `judge_gen.v1` | `{'e' * 64}` |" in card
    assert "`judge_edit.v1`" not in card
    assert "learning_rate: 1.0e-05" in card
