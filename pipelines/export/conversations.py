"""A dataset row as the conversation that a student has: what serving sends, what it should answer.

System text, prompt and reply come from the files that serving uses. Pure functions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from pipelines.build import Row
from pipelines.rendering import SYSTEM_PROMPT, student_prompt, student_prompt_id
from prompts import load_prompt
from schemas import accepts, load_schema


class ExportRefused(Exception):
    """An export that cannot be made; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """One example: `system`, then the pictures before `text` in one turn, then `reply`."""

    prompt_id: str
    system: str
    text: str
    reply: str


def student_reply(row: Mapping[str, object], schema_id: str) -> str:
    """A row's reasoning and score, or its score alone, as compact JSON in the schema's order.

    Raises ExportRefused, naming the row, for what serving would not accept.
    """
    value = {name: row[name] for name in load_schema(schema_id)["properties"]}
    if not accepts(schema_id)(value):
        raise ExportRefused(f"row {row['row_id']}: its reasoning and score do not fit {schema_id}")
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def converse(row: Row, *, score_only: bool) -> Conversation:
    """The conversation of a row; `score_only` is the fast mode, without reasoning."""
    prompt_id, text = student_prompt(row, row.get("axis"), score_only=score_only)
    schema_id = load_prompt(prompt_id).output_schema
    if schema_id is None:
        raise ExportRefused(f"prompt {prompt_id} has no output_schema, so no reply to export")
    return Conversation(
        prompt_id=prompt_id,
        system=load_prompt(SYSTEM_PROMPT).text,
        text=text,
        reply=student_reply(row, schema_id),
    )


def is_score_only(row: Row, *, share: float, seed: int) -> bool:
    """Whether a row is one of the `share` that is exported without reasoning, by its id alone."""
    key = f"score_only {seed} {row['row_id']} {row.get('axis') or ''}"
    return int.from_bytes(sha256(key.encode()).digest()[:8]) < share * 2**64


def score_only_share(prompt_ids: tuple[str, ...], share: float, *, edit: bool) -> float:
    """`share` as the named prompts allow it: 0 or 1 where only one of the two is named.

    Raises ExportRefused for a prompt that is not a student's of this kind.
    """
    full, fast = (student_prompt_id(edit=edit, score_only=alone) for alone in (False, True))
    unknown = sorted(set(prompt_ids) - {full, fast})
    if unknown:
        raise ExportRefused(f"--prompt {unknown[0]}: this dataset's are {full} and {fast}")
    if len(set(prompt_ids)) == 1:
        return float(prompt_ids[0] == fast)
    return share
