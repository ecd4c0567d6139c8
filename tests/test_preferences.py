"""Preference pairs mined from labelled rows: asked, kept, conserved, and opened by `datasets`."""

import json
import math
import os
import shutil

import datasets
import pyarrow.parquet as pq
import pytest
import yaml
from preference_cases import (
    label_build,
    make_preferences,
    mine,
    rows_in,
    shown,
)
from real_servers import JUDGE, ROOT, run, trl_python
from stub_server import stub_process

from flows.build_firm_preferences import main, run_preferences
from pipelines.build import BuildRefused, fixed_buckets
from pipelines.dataset_reading import DatasetUnreadable
from pipelines.export.conversations import converse
from pipelines.law import LawBroken
from pipelines.preferences.law import PreferenceLaw, check_preference_law
from pipelines.probe import EndpointUnfit
from pipelines.progress import Counters
from pipelines.runtime import Runtime
from pipelines.shards import shard_paths

WRONG, RIGHT = [(1, "It is off.")] * 4, [(4, f"It is right, {i}.") for i in range(4)]


def longest(first, second):
    """A judge who knows what it likes, wherever it stands."""
    return "first" if first > second else "second"


# Rollouts.


def test_a_row_is_asked_once_for_k_replies_as_serving_asks(tmp_path):
    source = label_build(tmp_path / "b", "edit", [4, 4])
    recipe = make_preferences(source, tmp_path / "o", rollouts={"k": 4, "temperature": 0.9})
    said = {0: [(4, "a"), (1, "b"), (1, "c"), (2, "d")], 1: WRONG}
    _, law, bodies = mine(recipe, said)
    assert law == PreferenceLaw(labelled=2, paired=1, hard=1, unpaired=0, pairs=1)
    assert [(body["n"], body["temperature"]) for body in bodies] == [(4, 0.9)] * 2
    assert all("logprobs" not in body or not body["logprobs"] for body in bodies)
    row = {"row_id": "x", "instruction": "Do thing 0.", "axis": "execution"}
    talk = converse({**row, "reasoning": "a", "score": 4}, score_only=False)
    asked = [[body["messages"][0], body["messages"][1]["content"][-1]["text"]] for body in bodies]
    assert [{"role": "system", "content": talk.system}, talk.text] in asked
    ((pair,),) = rows_in(tmp_path / "o", "preferences").values()
    assert [turn["content"] for turn in pair["prompt"]] == [talk.system, talk.text]
    assert pair["chosen"] == [{"role": "assistant", "content": talk.reply}]


def test_a_reply_that_cannot_be_used_is_no_rollout_and_is_not_asked_for_again(tmp_path):
    source = label_build(tmp_path / "b", "gen", [4, 4, 4])
    said = {0: ["no JSON", (4, "a"), '{"reasoning":"x","score":9}', (1, "<|im_end|> b")]}
    said[1] = ["no JSON"] * 4
    # Rows 0 and 1 have one prompt, so that row 2's is the second.
    said = {0: said[0], 1: said[1]}
    recipe = make_preferences(source, tmp_path / "o", judge=False)
    written, law, bodies = mine(recipe, said)
    assert len(bodies) == 3
    assert law.unpaired == 3
    unpaired = rows_in(tmp_path / "o", "unpaired")
    reasons = sorted(row["reason"] for (row,) in unpaired.values())
    assert reasons == ["pair:one_answer", "pair:one_answer", "reply:not_json"]
    assert written.tally["rollouts"] == {
        "correct": 2,
        "reply:not_json": 2,
        "reply:reserved": 2,
        "reply:schema": 2,
    }
    (bad,) = [row for (row,) in unpaired.values() if row["reason"] == "reply:not_json"]
    assert bad["raw_reply"] == "no JSON"
    assert bad["detail"].startswith("none of 4 rollouts usable")
    (one,) = [row for (row,) in unpaired.values() if row["reason"] == "pair:one_answer"][:1]
    assert one["detail"] == "the rollouts score 4"


def test_a_row_whose_text_has_a_token_of_the_chat_template_is_not_asked_about(tmp_path):
    source = label_build(tmp_path / "b", "edit", [4], instruction="Add <|image_pad|> here.")
    written, law, bodies = mine(make_preferences(source, tmp_path / "o"), {0: RIGHT})
    assert (law.unpaired, bodies) == (1, [])
    assert written.tally["unpaired"] == {"prompt:reserved": 1}


def test_a_server_that_gives_fewer_replies_is_told(tmp_path):
    source = label_build(tmp_path / "b", "edit", [4])
    written, law, _ = mine(make_preferences(source, tmp_path / "o"), {0: [(4, "a"), (1, "b")]})
    assert law.pairs == 1
    assert written.tally["rollouts"]["reply:too_few"] == 2


# The servers.


def connect(tmp_path, stub, *roles, **endpoints):
    """The clients of some roles, in a runtime of a recipe for edits."""
    recipe = make_preferences("b", tmp_path, stub.url, **endpoints)
    log = {"counters": Counters(), "say": lambda line: None}
    with Runtime(recipe, tmp_path, pictures=2, **log) as runtime:
        return [runtime.submit(runtime.chat_of(role)).result() for role in roles]


def test_student_and_judge_at_one_endpoint_share_a_client_and_its_limit(tmp_path):
    with stub_process() as stub:
        one, other = connect(tmp_path, stub, "student", "judge")
        assert one is other
        assert stub.log()["counts"]["probe"] == 1
        apart = {"student": {"url": stub.url, "model": "stub", "max_in_flight": 3}}
        apart["judge"] = {"url": stub.url, "model": "stub", "max_in_flight": 4}
        one, other = connect(tmp_path, stub, "student", "judge", endpoints=apart)
        assert one is not other


def test_a_student_that_sees_no_pictures_is_refused(tmp_path):
    with stub_process(takes_pictures=False) as stub, pytest.raises(EndpointUnfit, match="picture"):
        connect(tmp_path, stub, "student")


# Comparisons.


def test_two_correct_rationales_are_compared_in_both_orders(tmp_path):
    source = label_build(tmp_path / "b", "edit", [4])
    _, law, bodies = mine(make_preferences(source, tmp_path / "o"), {0: RIGHT}, longest)
    assert law == PreferenceLaw(labelled=1, paired=1, hard=0, unpaired=0, pairs=2)
    texts = [body["messages"][1]["content"][-1]["text"] for body in bodies[1:]]
    orders = [shown(text) for text in texts]
    assert len(orders) == 4
    assert {(b, a) for a, b in orders} == set(orders)
    assert all("Do thing 0." in text and "Both gave the score 4." in text for text in texts)
    ((one, other),) = rows_in(tmp_path / "o", "preferences").values()
    for pair in (one, other):
        assert pair["kind"] == "both_correct_quality"
        assert pair["chosen"][0]["content"] > pair["rejected"][0]["content"]
        assert len(set(pair["comparison_ids"])) == 2
        assert (pair["chosen_score"], pair["rejected_score"], pair["label_score"]) == (4, 4, 4)


@pytest.mark.parametrize(
    ("better", "reason", "counted"),
    [
        (lambda *_: "first", "compare:orders_disagree", "orders_disagree:the_first_twice"),
        (lambda *_: "second", "compare:orders_disagree", "orders_disagree:the_second_twice"),
        (lambda *_: "neither", "compare:neither", "neither"),
        (lambda *_: "both", "compare:rejected", "rejected"),
        (None, "pair:no_judge", None),
    ],
)
def test_a_judge_that_goes_by_place_or_does_not_say_makes_no_pair(
    tmp_path, better, reason, counted
):
    source = label_build(tmp_path / "b", "edit", [4])
    recipe = make_preferences(source, tmp_path / "o", judge=better is not None)
    written, law, _ = mine(recipe, {0: RIGHT}, better)
    assert (law.unpaired, law.pairs) == (1, 0)
    assert written.tally["unpaired"] == {reason: 1}
    assert written.tally["compared"] == ({counted: 2} if counted else {})


# What is written.


@pytest.mark.parametrize("kind", ["edit", "gen"])
def test_datasets_opens_pairs_and_hard_cases_with_decoded_pictures(kind, tmp_path):
    source = label_build(tmp_path / "b", kind, [4, 2, 4, 2], validation=(2, 3))
    said = {number: [(4, "a"), (1, "b"), (1, "c"), (1, "d")] for number in range(4)}
    _, law, _ = mine(make_preferences(source, tmp_path / "o"), said)
    assert (law.paired, law.hard) == (2, 2)
    opened = {
        name: datasets.load_dataset(
            "parquet", data_dir=str(tmp_path / "o" / name), cache_dir=str(tmp_path / "cache")
        )
        for name in ("preferences", "hard")
    }
    for name, row_id in (("preferences", 0), ("hard", 1)):
        (row,) = opened[name]["train"]
        assert opened[name].keys() == {"train", "validation"}
        assert row["row_id"] == f"{row_id:020x}"
        assert [image.size for image in row["images"]] == [(48, 32)] * (1 + (kind == "edit"))
        assert (row["label_model"], row["label_revision"]) == ("teacher", "r1")
    (pair,) = opened["preferences"]["train"]
    assert pair["axis"] == {"edit": "execution", "gen": None}[kind]
    assert [json.loads(pair[side][0]["content"])["score"] for side in ("chosen", "rejected")] == [
        pair["chosen_score"],
        pair["rejected_score"],
    ]
    for side in ("chosen", "rejected"):
        assert pair[f"{side}_model"] == "stub"
        assert pair[f"{side}_prompt_id"] == f"judge_{kind}.v1"
        assert len(pair[f"{side}_prompt_sha256"]) == 64
    assert pair["chosen_answer_id"] == pair["rejected_answer_id"]
    assert pair["chosen_rollout"] == 0
    (hard,) = opened["hard"]["train"]
    assert [one["score"] for one in hard["rollouts"]] == [4, 1, 1, 1]


def test_pairs_are_balanced_over_labels_and_what_stays_out_says_so(tmp_path):
    labels = [5] * 12 + [1] * 4
    source = label_build(tmp_path / "b", "gen", labels)
    # Rows 2n and 2n + 1 have one prompt.
    said = {n: [(5 if n < 6 else 1, "a"), (3, "b"), (3, "c"), (3, "d")] for n in range(8)}
    balance = {"targets": {"gen": [0.5, 0, 0, 0, 0.5]}, "tolerance": 0.0}
    recipe = make_preferences(source, tmp_path / "o", balance=balance, pairs={"most_pairs": 1})
    written, law, _ = mine(recipe, said)
    assert law == PreferenceLaw(labelled=16, paired=8, hard=0, unpaired=8, pairs=8)
    assert written.balance[0]["before"] == [4, 0, 0, 0, 12]
    assert written.balance[0]["after"] == [4, 0, 0, 0, 4]
    assert written.tally["unpaired"] == {"balance:quota": 8}
    kept = rows_in(tmp_path / "o", "preferences")
    mine(recipe)
    assert rows_in(tmp_path / "o", "preferences") == kept


def test_more_rows_ask_for_themselves_alone_and_change_no_pair_of_others(tmp_path):
    said = {n: [(4, "a"), (4, "b"), (1, "c"), (2, "d")] for n in range(9)}
    recipe = make_preferences(tmp_path / "b", tmp_path / "o")
    label_build(tmp_path / "b", "edit", [4] * 5)
    _, _, bodies = mine(recipe, said)
    few = rows_in(tmp_path / "o", "preferences")
    assert (len(few), len(bodies)) == (5, 5)
    shutil.rmtree(tmp_path / "b")
    label_build(tmp_path / "b", "edit", [4] * 9, last_first=True)
    _, _, bodies = mine(recipe, said)
    many = rows_in(tmp_path / "o", "preferences")
    assert (len(many), len(bodies)) == (9, 4)
    assert {key: many[key] for key in few} == few


def test_what_a_killed_run_left_is_no_trouble(tmp_path):
    source = label_build(tmp_path / "b", "edit", [4, 4])
    said = {0: [(4, "a"), (1, "b")], 1: [(4, "c"), (1, "d")]}
    left = ("rows/.incoming/00000.jsonl", ".hard.new/x.parquet", "images/ab/.abc.png.7-8.part")
    journal = "journal/edit_rollouts/00000.jsonl"
    for name in (*left, journal):
        (tmp_path / "o" / name).parent.mkdir(parents=True)
        (tmp_path / "o" / name).write_text('{"answer_id": "cut sh')
    _, law, bodies = mine(make_preferences(source, tmp_path / "o"), said)
    assert (law.paired, len(bodies)) == (2, 2)
    assert not (tmp_path / "o" / ".hard.new").exists()
    _, law, bodies = mine(make_preferences(source, tmp_path / "o"), said)
    assert (law.paired, bodies) == (2, [])


def test_pictures_come_from_a_published_dataset_as_well(tmp_path):
    source = label_build(tmp_path / "b", "edit", [4])
    shutil.copytree(source / "dataset", tmp_path / "fetched")
    _, law, _ = mine(
        make_preferences(tmp_path / "fetched", tmp_path / "o"),
        {0: [(4, "a"), (1, "b"), (1, "c"), (1, "d")]},
    )
    assert law.pairs == 1
    picture = next((tmp_path / "o" / "images").glob("*/*.png"))
    picture.write_bytes(b"not what it was")
    with pytest.raises(DatasetUnreadable, match="not what its name says; delete it and run again"):
        mine(make_preferences(tmp_path / "fetched", tmp_path / "o"))
    picture.unlink()
    assert mine(make_preferences(tmp_path / "fetched", tmp_path / "o"))[1].pairs == 1


TRAIN = """
import json, sys
from datasets import load_dataset
from transformers import AutoModelForImageTextToText, AutoProcessor
from trl import DPOConfig, DPOTrainer
folder, judge, work = sys.argv[1:]
rows = load_dataset("parquet", data_dir=folder, cache_dir=work)["train"]
processor = AutoProcessor.from_pretrained(judge)
config = DPOConfig(output_dir=work, max_length=None, max_steps=2, per_device_train_batch_size=2,
                   learning_rate=1e-3, use_cpu=True, bf16=False, gradient_checkpointing=False,
                   report_to=[], save_strategy="no", logging_steps=1, beta=0.1)
trainer = DPOTrainer(model=AutoModelForImageTextToText.from_pretrained(judge), args=config,
                     train_dataset=rows, processing_class=processor)
batch = trainer.data_collator([rows[0]])
asked = [{"role": m["role"], "content": [{"type": "text", "text": m["content"]}]}
         for m in rows[0]["prompt"]]
asked[1]["content"][:0] = [{"type": "image", "image": image} for image in rows[0]["images"]]
served = processor.apply_chat_template([asked], tokenize=True, add_generation_prompt=True,
                                       return_dict=True, return_tensors="pt")["input_ids"][0]
told = [processor.tokenizer.decode(ids[len(served):], skip_special_tokens=True).strip()
        for ids in batch["input_ids"]]
trainer.train()
losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
print(json.dumps({"told": told, "losses": losses,
                  "as_served": [ids[:len(served)].tolist() == served.tolist()
                                for ids in batch["input_ids"]]}))
"""


@pytest.mark.slow
def test_trl_learns_from_the_pairs_and_asks_what_serving_asks(tmp_path):
    python = trl_python()
    source = label_build(tmp_path / "b", "edit", [4] * 4)
    said = {n: [(4, "the red star is new"), (1, "no star"), (1, "-"), (2, "x")] for n in range(4)}
    mine(make_preferences(source, tmp_path / "o", pairs={"most_pairs": 1}), said)
    folders = (tmp_path / "o" / "preferences", ROOT / JUDGE, tmp_path / "work")
    done = run([python, "-c", TRAIN, *map(str, folders)], {**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["as_served"] == [True, True]
    chosen, rejected = (json.loads(text) for text in found["told"])
    assert (chosen["score"], chosen["reasoning"]) == (4, "the red star is new")
    assert rejected["score"] in (1, 2)
    # Before the first step both models are one: the loss is -log sigmoid(0).
    assert found["losses"][0] == pytest.approx(math.log(2), abs=1e-3)
    assert found["losses"][1] < found["losses"][0]


# The law.


@pytest.fixture
def whole(tmp_path):
    """A build with a paired, a hard and an unpaired row."""
    source = label_build(tmp_path / "b", "edit", [4, 4, 4])
    said = {0: [(4, "a"), (1, "b")], 1: [(1, "a"), (2, "b")], 2: [(4, "a")]}
    _, law, _ = mine(make_preferences(source, tmp_path / "o"), said)
    assert law == PreferenceLaw(labelled=3, paired=1, hard=1, unpaired=1, pairs=1)
    return tmp_path / "o"


def check(build, most_pairs=2):
    return check_preference_law(build, n_buckets=2, most_pairs=most_pairs)


@pytest.mark.parametrize("folder", ["preferences", "hard", "unpaired"])
def test_a_row_that_is_lost_or_doubled_breaks_the_law(whole, folder):
    (path,) = (whole / folder).glob("*.parquet")
    shutil.copy(path, whole / "spare.parquet")
    path.unlink()
    with pytest.raises(LawBroken, match=r"1 lost \("):
        check(whole)
    other = "hard" if folder == "unpaired" else "unpaired"
    shutil.copy(whole / "spare.parquet", path)
    shutil.copy(whole / "spare.parquet", whole / other / "more.parquet")
    with pytest.raises(LawBroken, match=r"1 doubled \("):
        check(whole)


def test_rows_from_nowhere_and_too_many_pairs_break_the_law(whole):
    (path,) = (whole / "preferences").glob("*.parquet")
    shutil.copy(path, path.with_name("again.parquet"))
    with pytest.raises(LawBroken, match="1 with more than 1 pairs"):
        check(whole, most_pairs=1)
    assert check(whole).pairs == 2
    shard = max(shard_paths(whole / "rows"), key=lambda path: pq.read_metadata(path).num_rows)
    pq.write_table(pq.read_table(shard).slice(1), shard)
    with pytest.raises(LawBroken, match=r"1 from nowhere \("):
        check(whole)
    shard.with_suffix(".json").unlink()
    with pytest.raises(LawBroken, match="1 finished shards of 2"):
        check(whole)


# What is refused.


def refused(recipe):
    asked = []
    run_preferences(recipe, say=asked.append, submit=lambda *_: asked.append(1))


def test_a_dataset_that_is_not_there_or_not_finished_is_refused_before_anything(tmp_path):
    with pytest.raises(DatasetUnreadable, match="no rows here"):
        refused(make_preferences(tmp_path / "nothing", tmp_path / "o"))
    source = label_build(tmp_path / "b", "edit", [4])
    (source / "manifest.json").unlink()
    with pytest.raises(DatasetUnreadable, match="run its flow again"):
        refused(make_preferences(source, tmp_path / "o"))
    assert not (tmp_path / "o").exists()


def test_the_folder_of_a_build_is_not_taken_for_preferences_and_the_other_way_round(tmp_path):
    source = label_build(tmp_path / "b", "edit", [4])
    with pytest.raises(BuildRefused, match="holds a build-firm-edit build, not preferences"):
        fixed_buckets(source, "preferences", wanted=None, rows=1, shard_rows=1)
    fixed_buckets(tmp_path / "b2", "preferences", wanted=None, rows=1, shard_rows=1)
    with pytest.raises(BuildRefused, match="holds a build-firm-preferences build, not edit"):
        fixed_buckets(tmp_path / "b2", "edit", wanted=None, rows=1, shard_rows=1)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("rollouts.k=1", "rollouts.k"),
        ("balance.targets={colour: uniform}", "no axis ['colour']"),
        ("pairs.tolerence=1", "pairs.tolerence"),
        ("rollouts.temperature=0", "rollouts.temperature"),
    ],
)
def test_a_wrong_recipe_is_refused_by_field(tmp_path, capsys, setting, message):
    recipe = make_preferences("nowhere", tmp_path / "o").model_dump(mode="json", exclude_unset=True)
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    assert main(tmp_path / "r.yaml", settings=(setting,)) == 2
    assert message in capsys.readouterr().err
