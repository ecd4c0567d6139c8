"""The rows and pairs that trainings learn from, without torch."""

import io
import json
import shutil
from hashlib import sha256

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dataset_cases import make_row, picture, write_build
from PIL import Image
from training_cases import pair_build, recipe, world_build

from pipelines.dataset_reading import DatasetUnreadable
from pipelines.export.conversations import ExportRefused
from pipelines.pictures import PictureLimits, prepare_picture
from pipelines.rendering import SYSTEM_PROMPT
from prompts import load_prompt
from trainers.card import model_card
from trainers.pairs import open_pairs
from trainers.rows import open_rows

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


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"chosen": [{"role": "assistant", "content": None}]}, "chosen: wanted are turns"),
        ({"prompt": None}, "prompt: wanted are turns"),
        ({"images": [{"bytes": None, "path": "a.jpg"}] * 2}, "the pictures themselves"),
    ],
)
def test_pairs_of_others_that_are_no_such_pairs_are_refused_by_row(tmp_path, change, told):
    folder = pair_build(tmp_path / "pairs", "edit", 4) / "preferences"
    path = folder / "train-00000-of-00001.parquet"
    rows = pq.read_table(path).to_pylist()
    rows[1] |= change
    pq.write_table(pa.Table.from_pylist(rows), path)
    with pytest.raises(DatasetUnreadable, match=f"{path.name}: row {rows[1]['row_id']}.*{told}"):
        open_pairs([str(folder)])


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
