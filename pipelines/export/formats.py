"""Conversations in the shapes that trainers read, and what tells each of them how to load it.

All are JSON lines, with pictures as paths relative to the folder. Sources: TRL's dataset formats
(vision, prompt and completion), LLaMA-Factory's data/README.md (sharegpt, images), ms-swift's
Customization/Custom-dataset.md (messages, images).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import Any, Literal

from pipelines.build import Row
from pipelines.export.conversations import Conversation

Format = Literal["trl", "llama-factory", "ms-swift"]

# What stands for a picture in a turn's text, where the format has no other place for it.
PICTURE_TAG = "<image>"
# Texts that a format's reader takes for something else, wherever they stand. A row with one of them
# cannot be told in that format: its number of pictures would be wrong, or its text another.
# The chat template's own tokens are such to every one: a tokenizer finds them in any text.
_CHAT = (
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
RESERVED: dict[Format, tuple[str, ...]] = {
    "trl": _CHAT,
    "llama-factory": (*_CHAT, PICTURE_TAG, "<video>", "<audio>"),
    "ms-swift": (
        *_CHAT,
        PICTURE_TAG,
        "<video>",
        "<audio>",
        "<bbox>",
        "<ref-object>",
        "<cot-process>",
        "<start-image>",
    ),
}


def as_line(form: Format, row: Row, talk: Conversation, pictures: list[str]) -> dict[str, Any]:
    """One line of the file. `pictures` are paths relative to the folder, in order of showing.

    The columns after the conversation are the same in every line, never null: readers take the
    type of a column from the first lines.
    """
    system = {"role": "system", "content": talk.system}
    reply = {"role": "assistant", "content": talk.reply}
    about = {"row_id": row["row_id"], "license": row.get("license") or "unknown"}
    if row.get("axis"):
        about["axis"] = row["axis"]
    if form == "trl":
        # The collator puts the pictures before the first user turn, in this order.
        asked = {"role": "user", "content": talk.text}
        return {
            "prompt": [system, asked],
            "completion": [reply],
            "images_file_names": pictures,
            **about,
        }
    asked = {"role": "user", "content": PICTURE_TAG * len(pictures) + talk.text}
    return {"messages": [system, asked, reply], "images": pictures, **about}


def reserved_in(form: Format, talk: Conversation) -> str | None:
    """The first reserved text in a conversation, None where there is none."""
    return reserved_word(form, (talk.system, talk.text, talk.reply))


def reserved_word(form: Format, texts: Iterable[str]) -> str | None:
    """The first text that a format's reader takes for something else, None where there is none."""
    said = "\n".join(texts)
    return next((word for word in RESERVED[form] if word in said), None)


def dataset_info(kind: str, splits: list[str]) -> dict[str, Any]:
    """LLaMA-Factory's `dataset_info.json`: a dataset a split, such as `firm_edit_train`."""
    return {
        f"firm_{kind}_{split}": {
            "file_name": f"{split}.jsonl",
            "formatting": "sharegpt",
            "columns": {"messages": "messages", "images": "images"},
            "tags": {
                "role_tag": "role",
                "content_tag": "content",
                "user_tag": "user",
                "assistant_tag": "assistant",
                "system_tag": "system",
            },
        }
        for split in splits
    }


def how_to_load(form: Format, kind: str, splits: list[str], folder: str) -> str:
    """What a person does with the folder."""
    if form == "trl":
        files = ", ".join(f'"{split}": "{folder}/{split}.jsonl"' for split in splits)
        names = ", ".join(f'"{split}.jsonl"' for split in splits)
        return (
            f'load_dataset("imagefolder", data_files={{{files}}}, metadata_filenames=[{names}]), '
            "and SFTConfig(max_length=None)"
        )
    if form == "llama-factory":
        names = {split: f"firm_{kind}_{split}" for split in splits}
        lines = [
            f"dataset_dir: {folder}",
            f"dataset: {names.get('train', next(iter(names.values())))}",
        ]
        if "train" in names and "validation" in names:
            lines.append(f"eval_dataset: {names['validation']}")
        return ", ".join(lines)
    options = [
        ("--val_dataset " if s == "validation" else "--dataset ")
        + shlex.quote(f"{folder}/{s}.jsonl")
        for s in splits
    ]
    return f"ROOT_IMAGE_DIR={shlex.quote(folder)} swift sft {' '.join(options)}"
