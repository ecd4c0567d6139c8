"""Exports: the very text, pictures and replies of serving, in the shapes that trainers read."""

import asyncio
import base64
import json
import os
import shlex
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import datasets
import pytest
from chain_cases import bodies_of, chat_to, edit_rows, gen_rows, make_recipe, write_bucket
from dataset_cases import change_manifest, make_row, picture, write_build
from jsonschema import validate
from PIL import Image
from real_servers import ROOT, trl_python
from stub_server import serve_stub

from pipelines.build import PICTURES
from pipelines.export.__main__ import main
from pipelines.export.write import part_of
from pipelines.picture_refs import PictureRef
from pipelines.picture_worker import Workplace, learn_picture, store
from pipelines.pictures import PictureLimits
from pipelines.rendering import AXES
from pipelines.replies import Choice, parse_choice
from pipelines.settings import ScoreSettings
from pipelines.shard_run import ShardRun
from pipelines.student import run_student_group, student_stages
from prompts import load_prompt

FORMATS = ("trl", "llama-factory", "ms-swift")
every_format = pytest.mark.parametrize("form", FORMATS)
both_kinds = pytest.mark.parametrize("kind", ["gen", "edit"])


def rows_of(kind, n=12):
    axes = AXES if kind == "edit" else (None,)
    return [
        make_row(kind, i, axis=axis, score=1 + i % 5, split="validation" if i > 8 else "train")
        for i in range(n)
        for axis in axes
    ]


@pytest.fixture
def gen(tmp_path):
    return write_build(tmp_path / "gen", "gen", rows_of("gen"))


@pytest.fixture
def edit(tmp_path):
    return write_build(tmp_path / "edit", "edit", rows_of("edit"))


def export(build, form="ms-swift", **more):
    out = build.parent / f"{build.name}-{form}"
    assert main(build, format=form, out=out, **more) == 0
    return out


def lines_of(out, split="train"):
    return [json.loads(line) for line in (out / f"{split}.jsonl").read_text().splitlines()]


def told(out):
    return json.loads((out / "export.json").read_text())


def turns(form, line):
    """System text, user's text, reply and paths of a line of any format."""
    messages = [*line["prompt"], *line["completion"]] if form == "trl" else line["messages"]
    assert [m["role"] for m in messages] == ["system", "user", "assistant"]
    system, user, reply = (m["content"] for m in messages)
    paths = line["images_file_names" if form == "trl" else "images"]
    if form != "trl":
        tags = "<image>" * len(paths)
        assert user.startswith(tags)
        user = user.removeprefix(tags)
    assert "<image>" not in user
    return system, user, reply, paths


# What a student is told.


@every_format
@both_kinds
def test_text_and_pictures_are_those_that_serving_sends(tmp_path, form, kind):
    rows = (gen_rows if kind == "gen" else edit_rows)(tmp_path / "pictures")
    for order, row in enumerate(rows):
        row["order"] = order
    sent = asyncio.run(ask_student(tmp_path / "asked", kind, rows))
    written = [
        make_row(
            kind,
            row["source_index"],
            axis=axis,
            pictures={c: Path(row[c]["path"]).read_bytes() for c in PICTURES[kind]},
            **{name: row[name] for name in ("prompt", "instruction") if name in row},
        )
        for row in rows
        for axis in (AXES if kind == "edit" else (None,))
    ]
    out = export(write_build(tmp_path / kind, kind, written), form, score_only_share=0)
    exported = []
    for line in lines_of(out):
        system, text, _, paths = turns(form, line)
        pictures = [sha256((out / path).read_bytes()).hexdigest() for path in paths]
        exported.append((system, text, pictures))
    assert sorted(exported) == sorted(sent)


async def ask_student(build, kind, rows):
    """What the real chain sends for these rows: system, text, sha256s of the pictures in order."""
    write_bucket(build, kind, rows)
    stages = student_stages(kind, ScoreSettings(), make_recipe(kind).endpoints.judge[0])
    async with serve_stub() as stub, chat_to(stub.url) as chat:
        bodies = bodies_of(stub)

        async def chat_of(role):
            return chat

        run = ShardRun(build, 0, stages, chat_of=chat_of)
        for row in rows:
            await run_student_group([row], run=run)
        run.close()
    found, known = [], {}
    for body in bodies:
        system, user = body["messages"]
        *pictures, text = user["content"]
        for part in pictures:
            if part["image_url"]:
                data = base64.b64decode(part["image_url"]["url"].partition(",")[2])
                known[part["uuid"]] = sha256(data).hexdigest()
        shown = [known[part["uuid"]] for part in pictures]
        found.append((system["content"], text["text"], shown))
    return found


@every_format
@both_kinds
@pytest.mark.parametrize("share", [0, 1])
def test_the_reply_is_one_that_serving_accepts_reasoning_first(form, kind, share, request):
    out = export(request.getfixturevalue(kind), form, score_only_share=share)
    prompt_id = f"judge_{kind}{'_score_only' if share else ''}.v1"
    assert list(told(out)["prompts"]) == [prompt_id]
    rows = {(row["row_id"], row.get("axis")): row for row in rows_of(kind)}
    for line in lines_of(out):
        reply = turns(form, line)[2]
        row = rows[line["row_id"], line.get("axis")]
        names = ["score"] if share else ["reasoning", "score"]
        value = parse_choice(
            Choice(content=reply, finish_reason="stop"), load_prompt(prompt_id).output_schema
        )
        assert list(value.items()) == [(name, row[name]) for name in names]
        assert reply == json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def test_a_share_of_the_rows_is_without_reasoning_by_their_ids(tmp_path):
    build = write_build(tmp_path / "b", "gen", rows_of("gen", 400))

    def alone(out):
        lines = [*lines_of(out), *lines_of(out, "validation")]
        return {n["row_id"] for n in lines if "reasoning" not in n["messages"][2]["content"]}

    first = alone(export(build))
    assert 50 < len(first) < 110
    assert alone(export(build, "llama-factory")) == first
    (tmp_path / "b-ms-swift").rename(tmp_path / "first")
    assert alone(export(build, seed=1)) != first


def test_a_named_prompt_is_the_only_one(gen):
    out = export(gen, prompts=("judge_gen_score_only.v1",))
    assert told(out)["prompts"]["judge_gen_score_only.v1"]["rows"] == 12
    assert told(out)["score_only_share"] == 1


def test_axis_and_licence_go_along(tmp_path):
    rows = [make_row("edit", 1, license="cc-by-4.0"), make_row("edit", 2, axis="consistency")]
    (first, second) = lines_of(export(write_build(tmp_path / "b", "edit", rows)))
    assert (first["axis"], first["license"]) == ("execution", "cc-by-4.0")
    assert (second["axis"], second["license"]) == ("consistency", "unknown")


# Pictures.


@every_format
def test_pictures_are_written_once_under_their_sha256(edit, form):
    out = export(edit, form)
    files = [path for path in (out / "images").rglob("*") if path.is_file()]
    assert len(files) == told(out)["pictures"]["written"] == 24
    for path in files:
        assert sha256(path.read_bytes()).hexdigest() == path.stem
    for line in lines_of(out):
        number = int(line["row_id"], 16)
        paths = turns(form, line)[3]
        assert [(out / p).read_bytes() for p in paths] == [
            picture(2 * number),
            picture(2 * number + 1),
        ]


def prepared_row(build, number, limits):
    """A row whose picture the model saw prepared, as the build keeps it."""
    data = picture(number, size=(300, 200))
    place = Workplace(build_dir=str(build), limits=limits)
    ref = PictureRef(raw_sha256=sha256(data).hexdigest(), data=data)
    facts = learn_picture(ref, place)
    row = make_row("gen", number, pictures={"image": data})
    return row | {"image_seen_sha256": facts["seen_sha256"]}, Path(facts["seen_path"])


def test_a_prepared_picture_is_the_one_that_the_build_kept(tmp_path):
    row, kept = prepared_row(tmp_path / "b", 1, PictureLimits(max_side_px=100))
    out = export(write_build(tmp_path / "b", "gen", [row]))
    (path,) = lines_of(out)[0]["images"]
    assert (out / path).read_bytes() == kept.read_bytes()
    assert Image.open(out / path).size == (100, 67)
    assert told(out)["pictures"] == {"written": 1, "unlike_those_seen": 0}


@pytest.mark.parametrize("bare", [False, True], ids=["BUILD", "BUILD/dataset"])
def test_without_the_kept_one_it_is_prepared_by_the_recipes_limits(tmp_path, bare):
    row, kept = prepared_row(tmp_path / "b", 1, PictureLimits(max_side_px=100))
    build = write_build(tmp_path / "b", "gen", [row])
    wanted = kept.read_bytes()
    kept.unlink()
    change_manifest(build, recipe={"images": {"max_side_px": 100}})
    out = export(build / "dataset" if bare else build)
    assert (out / lines_of(out)[0]["images"][0]).read_bytes() == wanted
    assert told(out)["pictures"]["unlike_those_seen"] == 0


def test_a_picture_that_cannot_be_made_the_same_is_counted(tmp_path, capsys):
    row, kept = prepared_row(tmp_path / "b", 1, PictureLimits(max_side_px=100))
    build = write_build(tmp_path / "b", "gen", [row])
    kept.unlink()
    out = export(build)
    assert Image.open(out / lines_of(out)[0]["images"][0]).size == (300, 200)
    assert told(out)["pictures"]["unlike_those_seen"] == 1
    assert "1 pictures prepared anew are not those" in capsys.readouterr().out


def test_pictures_by_reference_are_read_from_their_files(tmp_path, capsys):
    row = make_row("gen", 1)
    file = tmp_path / "p.png"
    file.write_bytes(row["image"]["bytes"])
    row["image"] = {"bytes": None, "path": str(file)}
    build = write_build(tmp_path / "b", "gen", [row])
    out = export(build)
    assert (out / lines_of(out)[0]["images"][0]).read_bytes() == file.read_bytes()
    file.write_bytes(picture(77))
    assert main(build, format="trl", out=tmp_path / "again") == 1
    assert "row 00000000000000000001, image" in capsys.readouterr().err
    assert not (tmp_path / "again").exists()


# Formats.

MESSAGES = {
    "type": "array",
    "minItems": 3,
    "maxItems": 3,
    "items": {
        "type": "object",
        "required": ["role", "content"],
        "properties": {
            "role": {"enum": ["system", "user", "assistant"]},
            "content": {"type": "string", "minLength": 1},
        },
        "additionalProperties": False,
    },
}
# ms-swift, Customization/Custom-dataset.md; LLaMA-Factory, data/README.md (OpenAI format, images).
WITH_MESSAGES = {
    "type": "object",
    "required": ["messages", "images"],
    "properties": {
        "messages": MESSAGES,
        "images": {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}},
    },
}


@pytest.mark.parametrize("form", ["llama-factory", "ms-swift"])
@both_kinds
def test_messages_are_as_documented_with_a_tag_for_each_picture(form, kind, request):
    out = export(request.getfixturevalue(kind), form)
    for line in [*lines_of(out), *lines_of(out, "validation")]:
        validate(line, WITH_MESSAGES)
        texts = "".join(message["content"] for message in line["messages"])
        assert texts.count("<image>") == len(line["images"]) == len(PICTURES[kind])
        for path in line["images"]:
            assert not os.path.isabs(path)
            assert (out / path).is_file()


def test_llama_factory_finds_both_splits_in_its_dataset_info(edit):
    out = export(edit, "llama-factory")
    info = json.loads((out / "dataset_info.json").read_text())
    assert list(info) == ["firm_edit_train", "firm_edit_validation"]
    for entry in info.values():
        assert (out / entry["file_name"]).is_file()
        assert entry["formatting"] == "sharegpt"
        line = json.loads((out / entry["file_name"]).read_text().splitlines()[0])
        assert set(entry["columns"].values()) <= line.keys()
        tags = entry["tags"]
        roles = [message[tags["role_tag"]] for message in line[entry["columns"]["messages"]]]
        assert roles == [tags["system_tag"], tags["user_tag"], tags["assistant_tag"]]


@pytest.mark.parametrize("form", ["llama-factory", "ms-swift"])
def test_every_line_has_the_same_columns_and_no_null(edit, form, tmp_path):
    out = export(edit, form)
    opened = datasets.load_dataset(
        "json", data_files=str(out / "train.jsonl"), cache_dir=str(tmp_path / "cache")
    )["train"]
    assert len(opened) == 18
    assert not [row for row in opened if None in row.values()]


def open_for_trl(out, cache):
    splits = [path.stem for path in out.glob("*.jsonl")]
    return datasets.load_dataset(
        "imagefolder",
        data_files={split: str(out / f"{split}.jsonl") for split in splits},
        metadata_filenames=[f"{split}.jsonl" for split in splits],
        cache_dir=str(cache),
    )


@both_kinds
def test_datasets_opens_the_one_for_trl_from_any_folder(kind, request, tmp_path, monkeypatch):
    out = export(request.getfixturevalue(kind), "trl")
    moved = out.rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    opened = open_for_trl(moved, tmp_path / "cache")
    assert isinstance(opened["train"].features["images"].feature, datasets.Image)
    for split, rows in opened.items():
        for row, line in zip(rows, lines_of(moved, split), strict=True):
            assert row["prompt"] == line["prompt"]
            assert row["completion"] == line["completion"]
            assert [image.size for image in row["images"]] == [(48, 32)] * len(PICTURES[kind])


TRAIN = """
import json, sys
from datasets import load_dataset
from transformers import AutoModelForImageTextToText, AutoProcessor
from trl import SFTConfig, SFTTrainer
out, judge, work = sys.argv[1:]
rows = load_dataset("imagefolder", data_files={"train": out + "/train.jsonl"},
                    metadata_filenames=["train.jsonl"], cache_dir=work)["train"]
processor = AutoProcessor.from_pretrained(judge)
config = SFTConfig(output_dir=work, max_length=None, max_steps=1, per_device_train_batch_size=2,
                   use_cpu=True, bf16=False, gradient_checkpointing=False, report_to=[],
                   save_strategy="no")
trainer = SFTTrainer(model=AutoModelForImageTextToText.from_pretrained(judge), args=config,
                     train_dataset=rows, processing_class=processor)
batch = trainer.data_collator([rows[0]])
labels = batch["labels"][0]
asked = [{"role": m["role"], "content": [{"type": "text", "text": m["content"]}]}
         for m in rows[0]["prompt"]]
asked[1]["content"][:0] = [{"type": "image", "image": image} for image in rows[0]["images"]]
served = processor.apply_chat_template([asked], tokenize=True, add_generation_prompt=True,
                                       return_dict=True, return_tensors="pt")["input_ids"][0]
learnt = processor.tokenizer.decode(labels[labels != -100], skip_special_tokens=True).strip()
loss = trainer.train().training_loss
print(json.dumps({"learnt": learnt, "loss": loss, "pictures": len(batch["image_grid_thw"]),
                  "as_served": batch["input_ids"][0][:len(served)].tolist() == served.tolist()}))
"""


@pytest.mark.slow
def test_trl_trains_on_it_and_asks_what_serving_asks(edit, tmp_path):
    python, out = trl_python(), export(edit, "trl")
    judge = str(ROOT / "foundry/shapeworld/judge")
    command = [python, "-c", TRAIN, str(out), judge, str(tmp_path / "work")]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["as_served"]
    assert found["pictures"] == 2
    assert found["loss"] > 0
    assert json.loads(found["learnt"])["score"] == 1


# What cannot be told, and what goes wrong.


@pytest.mark.parametrize(("form", "n"), [("trl", 2), ("llama-factory", 1), ("ms-swift", 1)])
def test_a_row_whose_text_the_format_would_misread_is_left_out_and_told(tmp_path, capsys, form, n):
    rows = [make_row("gen", 1, prompt="An <image> in a frame."), make_row("gen", 2)]
    out = export(write_build(tmp_path / "b", "gen", rows), form)
    assert len(lines_of(out)) == n
    assert told(out)["left_out"] == ({} if n == 2 else {"<image>": 1})
    assert ("1 rows left out: they contain <image>" in capsys.readouterr().out) == (n == 1)


STEPS = ["pictures.store", "write.sync_tree", "write.os.rename", "write.write_json"]


@pytest.mark.parametrize("step", STEPS)
def test_a_cut_leaves_nothing_that_looks_whole(gen, monkeypatch, step, capsys):
    def fail(*_):
        raise OSError(28, "No space left on device")

    out, part = gen.parent / "out", gen.parent / ".out.part"
    with monkeypatch.context() as patch:
        patch.setattr(f"pipelines.export.{step}", fail)
        assert main(gen, format="trl", out=out) == 1
    said = capsys.readouterr().err
    assert "No space left" in said
    assert not out.exists()
    # Pictures alone are kept, and told.
    assert not list(part.glob("*.json*"))
    assert ("keeps the pictures written so far" in said) == part.exists() == ("store" not in step)
    assert main(gen, format="trl", out=out) == 0
    assert sorted(path.name for path in gen.parent.iterdir()) == ["gen", "out"]


def test_a_second_run_takes_up_the_pictures_of_one_that_was_killed(gen, monkeypatch):
    written = []

    def write(path, data):
        written.append(path.name)
        if len(written) == 8:
            raise KeyboardInterrupt
        return store(path, data)

    monkeypatch.setattr("pipelines.export.pictures.store", write)
    out, part = gen.parent / "out", gen.parent / ".out.part"
    with pytest.raises(KeyboardInterrupt):
        main(gen, format="trl", out=out)
    kept = sorted(path for path in (part / "images").rglob("*") if path.is_file())
    assert len(kept) == 7
    # One is of another dataset, one was cut short.
    (part / "images" / "old.jpg").write_bytes(b"old")
    kept[0].write_bytes(bytes(kept[0].stat().st_size))
    (part / "train.jsonl").write_text("half a li")
    assert main(gen, format="trl", out=out) == 0
    assert len(written) == 8 + 1 + 5
    assert kept[0].name in written[8:]
    assert [path.name for path in gen.parent.iterdir() if path.name.startswith(".")] == []
    assert not [*out.rglob("old.jpg"), *out.rglob("earlier")]
    whole = export(gen, "trl")
    for path in whole.rglob("*"):
        assert path.is_dir() or (out / path.relative_to(whole)).read_bytes() == path.read_bytes()
    assert len(list(out.rglob("*"))) == len(list(whole.rglob("*")))


@pytest.mark.parametrize("there", [True, False])
def test_a_link_leads_to_the_folder_that_is_made(gen, there):
    place = gen.parent / "large" / "disk"
    (place if there else place.parent).mkdir(parents=True)
    (gen.parent / "link").symlink_to(place)
    assert main(gen, format="trl", out=gen.parent / "link") == 0
    assert (gen.parent / "link").is_symlink()
    # A folder cannot be renamed from one disk to another.
    assert part_of(gen.parent / "link") == gen.parent / "large" / ".disk.part"
    assert told(place)["rows"] == {"train": 9, "validation": 3}


def test_every_file_is_synced_before_the_folder_gets_its_name(gen, monkeypatch):
    synced = set()
    fsync = os.fsync

    def note(handle):
        synced.add(os.stat(handle).st_ino)
        fsync(handle)

    monkeypatch.setattr("os.fsync", note)
    out = export(gen, "llama-factory")
    assert {path.stat().st_ino for path in (out, *out.rglob("*"))} <= synced


def test_it_says_how_far_it_is(gen, capsys):
    export(gen)
    assert "export of gen: rows 12/12" in capsys.readouterr().err


def test_the_command_can_be_pasted_whatever_the_folder_is_called(gen, capsys):
    assert main(gen, format="ms-swift", out=gen.parent / "my export; x") == 0
    command = capsys.readouterr().out.split("load it: ")[1]
    words = shlex.split(command)
    assert words[0] == f"ROOT_IMAGE_DIR={gen.parent}/my export; x"
    assert words[4] == f"{gen.parent}/my export; x/train.jsonl"


@every_format
@pytest.mark.parametrize("token", ["<|im_start|>", "<|im_end|>", "<|image_pad|>", "<|video_pad|>"])
def test_a_row_with_a_token_of_the_chat_template_is_left_out(tmp_path, form, token):
    rows = [
        make_row("gen", 1, prompt=f"A {token}"),
        make_row("gen", 2, reasoning=f"See {token}."),
        make_row("gen", 3),
    ]
    out = export(write_build(tmp_path / "b", "gen", rows), form, score_only_share=0)
    assert [line["row_id"] for line in lines_of(out)] == [rows[2]["row_id"]]
    assert told(out)["left_out"] == {token: 2}


def test_one_split_alone_and_a_bare_folder_of_parquet(gen):
    out = export(gen / "dataset", "trl", splits=("validation",))
    assert told(out)["rows"] == {"validation": 3}
    assert not (out / "train.jsonl").exists()


REFUSED = {
    "an unknown split": ({"splits": ("test",)}, "--split test: "),
    "a prompt of the other kind": ({"prompts": ("judge_edit.v1",)}, "--prompt judge_edit.v1: "),
    "a folder that is there": ({"out": "full"}, "full: is there already"),
    "a folder without rows": ({"source": "full"}, "full: no rows here"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_exported_is_told(gen, case, capsys):
    change, message = REFUSED[case]
    folder = gen.parent
    (folder / "full").mkdir()
    (folder / "full" / "something").write_text("mine")
    paths = {"source": gen, "out": folder / "out"}
    paths |= {k: folder / v for k, v in change.items() if k in paths}
    rest = {k: v for k, v in change.items() if k not in paths}
    assert main(paths["source"], format="trl", out=paths["out"], **rest) == 1
    assert message in capsys.readouterr().err
    assert not (folder / "out").exists()
    assert (folder / "full" / "something").read_text() == "mine"


UNFINISHED = {
    "no manifest": (lambda build: (build / "manifest.json").unlink(), "has no manifest.json"),
    "a manifest cut short": (
        lambda build: (build / "manifest.json").write_text("{"),
        "does not say which files",
    ),
    "a split is gone": (
        lambda build: next((build / "dataset").glob("validation-*")).unlink(),
        "validation-00000-of-00001.parquet: is missing, manifest.json says 3",
    ),
    "a file too many": (
        lambda build: shutil.copy(
            next((build / "dataset").glob("train-*")),
            build / "dataset" / "test-00000-of-00001.parquet",
        ),
        "has 9 rows, manifest.json says nothing of it",
    ),
    "other rows": (
        lambda build: change_manifest(
            build,
            files={"train-00000-of-00001.parquet": 10, "validation-00000-of-00001.parquet": 3},
        ),
        "has 9 rows, manifest.json says 10",
    ),
}


@pytest.mark.parametrize("inside", [False, True], ids=["BUILD", "BUILD/dataset"])
@pytest.mark.parametrize("case", UNFINISHED)
def test_a_build_that_is_not_finished_or_not_whole_is_refused(gen, case, inside, capsys):
    harm, message = UNFINISHED[case]
    harm(gen)
    assert main(gen / "dataset" if inside else gen, format="trl", out=gen.parent / "out") == 1
    said = capsys.readouterr().err
    assert message in said
    assert "run its flow again" in said
    assert not (gen.parent / "out").exists()


def test_a_dataset_with_a_missing_file_is_no_dataset(gen, capsys):
    (gen / "build.json").unlink()
    path = next((gen / "dataset").glob("train-*"))
    path.rename(path.with_name("train-00000-of-00002.parquet"))
    assert main(gen, format="trl", out=gen.parent / "out") == 1
    assert "1 of 00002 files of split 'train'" in capsys.readouterr().err


def test_a_reply_that_serving_would_refuse_is_refused_with_its_row(tmp_path, capsys):
    build = write_build(tmp_path / "b", "gen", [make_row("gen", 7, reasoning="")])
    assert main(build, format="trl", out=tmp_path / "out", score_only_share=0) == 1
    assert "row 00000000000000000007: its reasoning and score" in capsys.readouterr().err
