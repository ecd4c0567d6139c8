"""The small judges' own tokenizer: byte-level, with our fixed paragraphs as single tokens.

A small model's cost is its prompt. What a prompt file says between its inputs is one token, and so
is every run of JSON punctuation and key names in a reply. They are ordinary tokens, not special
ones: the grammar of a constrained reply may choose them, and they decode to their text. A changed
paragraph falls back to words. Digits stand alone, so a score is one token.
"""

# The imports below live in the server's environment, where this runs.
# pyright: reportMissingImports=false
from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from prompts import load_prompt, prompt_ids
from schemas import load_schema, schema_ids

END_OF_TEXT, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
VISION_START, VISION_END, IMAGE = "<|vision_start|>", "<|vision_end|>", "<|image_pad|>"
VIDEO = "<|video_pad|>"
SPECIAL = (END_OF_TEXT, START, END, VISION_START, VISION_END, IMAGE, VIDEO)
_MIN_PARAGRAPH = 12
# Schemas of the two lists that a later stage is shown.
_LISTS = ("edit_differences.v1", "gen_checklist.v1")
# xgrammar 0.2.8 lets these stand raw in a string with a length bound, where JSON forbids them. What
# has no token cannot be written; in a prompt they are passed over.
_CONTROL = "".join(map(chr, range(32))).replace("\n", "")

# Qwen's chat form: a picture or video stands where the user put it. Text after a picture begins on
# a line of its own, as `fixed_paragraphs` needs it.
CHAT_TEMPLATE = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\\n' -}}
{%- if message.content is string -%}
{{- message.content -}}
{%- else -%}
{%- for part in message.content -%}
{%- if part.type == 'text' -%}
{{- ('' if loop.first else '\\n') + part.text -}}
{%- elif part.type in ('image', 'image_url') -%}
{{- '<|vision_start|><|image_pad|><|vision_end|>' -}}
{%- elif part.type in ('video', 'video_url') -%}
{{- '<|vision_start|><|video_pad|><|vision_end|>' -}}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""


def conversation(text: str, *, pictures: int, system: str | None) -> str:
    """What CHAT_TEMPLATE makes of `pictures` pictures and a text, after a system text or none."""
    before = "" if system is None else f"{START}system\n{system}{END}\n"
    seen = (VISION_START + IMAGE + VISION_END) * pictures + ("\n" if pictures else "")
    return f"{before}{START}user\n{seen}{text}{END}\n{START}assistant\n"


def fixed_paragraphs(texts: Iterable[str]) -> list[str]:
    """Lines of the prompt files between those with an input, with the line break before them.

    Those that occur in `texts`: a prompt that nobody is taught takes no token from the words.

    The break keeps these long tokens out of replies: a JSON string cannot hold one. Without it the
    grammar weighs every one of them at every step, which took a hundred times as long.
    """
    paragraphs: set[str] = set()
    for prompt_id in prompt_ids():
        fixed: list[str] = []
        for line in [*load_prompt(prompt_id).text.split("\n"), "$"]:
            if "$" not in line:
                fixed.append(line)
            elif fixed:
                paragraphs.add("\n" + "\n".join(fixed))
                fixed = []
    taught = "".join(texts)
    return sorted(text for text in paragraphs if len(text) > _MIN_PARAGRAPH and text in taught)


def report_pieces() -> list[str]:
    """What never varies in a rendered line of a report or a checklist, such as ` (count): `."""
    schemas = (load_schema(schema_id)["properties"] for schema_id in _LISTS)
    categories, kinds = (
        next(iter(lists.values()))["items"]["properties"][name]["enum"]
        for lists, name in zip(schemas, ("category", "kind"), strict=True)
    )
    pieces = [f"\n- {category}: " for category in categories]
    return pieces + [f" ({kind}{how}): " for kind in kinds for how in ("", ", critical")]


def reply_punctuation(replies: Iterable[str]) -> list[str]:
    """Runs of JSON punctuation and key names, such as `","score":`, found in compact replies."""
    keys = "|".join(sorted(set().union(*(_keys(load_schema(i)) for i in schema_ids()))))
    between = re.compile(rf'(?:[\]}}",\[{{]*"(?:{keys})":[\[{{]*)+"?|["\]}}]+$')
    return sorted({run for reply in replies for run in between.findall(reply)})


def train_tokenizer(texts: Sequence[str], replies: Sequence[str], vocabulary: int) -> Any:
    """A `PreTrainedTokenizerFast` of at most `vocabulary` tokens, special ones included.

    `texts` and `replies` are what words are learnt from.
    """
    from tokenizers import (
        AddedToken,
        Tokenizer,
        decoders,
        models,
        pre_tokenizers,
        processors,
        trainers,
    )
    from transformers import PreTrainedTokenizerFast

    added = [*fixed_paragraphs(texts), *report_pieces(), *reply_punctuation(replies)]
    tokenizer = Tokenizer(models.BPE())
    words = pre_tokenizers.ByteLevel(add_prefix_space=False)
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, words])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(added) - len(SPECIAL),
        initial_alphabet=sorted(set(words.alphabet()) - _signs(words, _CONTROL)),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*texts, *replies], trainer)
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in added])
    tokenizer.add_special_tokens([AddedToken(text, normalized=False) for text in SPECIAL])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=END_OF_TEXT,
        chat_template=CHAT_TEMPLATE,
        model_max_length=32768,
        clean_up_tokenization_spaces=False,
        extra_special_tokens={
            "image_token": IMAGE,
            "video_token": VIDEO,
            "vision_start_token": VISION_START,
            "vision_end_token": VISION_END,
        },
    )


def _signs(byte_level: Any, text: str) -> set[str]:
    """The signs by which a byte-level vocabulary writes the bytes of `text`."""
    return {sign for char in text for sign, _ in byte_level.pre_tokenize_str(char)}


def _keys(schema: Any) -> set[str]:
    if not isinstance(schema, dict):
        return set()
    own = schema.get("properties", {})
    return set(own).union(*(_keys(part) for part in (*own.values(), schema.get("items"))))
