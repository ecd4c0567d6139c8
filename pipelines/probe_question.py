"""The one question of the start-up probe, and what its answer shows. Pure functions."""

from __future__ import annotations

import base64
import json
from io import BytesIO
from typing import Any

from PIL import Image

from pipelines.replies import NotACompletion, read_completion

_SCORES = [1, 2, 3, 4, 5]


def make_question(model: str, word: str, pictures: int, logprobs: bool) -> dict[str, Any]:
    """A chat request whose only legal reply holds `word`, which stands in its schema alone."""
    schema = {
        "type": "object",
        "additionalProperties": False,
        "required": ["word", "score"],
        "properties": {"word": {"const": word}, "score": {"type": "integer", "enum": _SCORES}},
    }
    text = "Say a word and a score. Reply with one JSON object."
    parts: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": _picture(shade)}} for shade in range(pictures)
    ]
    return {
        "model": model,
        "messages": [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}],
        "temperature": 0,
        "max_tokens": 128,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "probe", "schema": schema, "strict": True},
        },
        **({"logprobs": True, "top_logprobs": 5} if logprobs else {}),
    }


def _picture(shade: int) -> str:
    file = BytesIO()
    Image.new("RGB", (96, 96), (40, 90 + 60 * shade, 160)).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def read_models(text: str, model: str) -> dict[str, Any]:
    """Report fields from the body of `/models`; none where it is no list of models."""
    try:
        cards = {card["id"]: card for card in json.loads(text)["data"]}
    except (ValueError, KeyError, TypeError):
        return {}
    length = cards.get(model, {}).get("max_model_len")
    return {"models": tuple(cards), "serves_model": model in cards, "max_model_len": length}


def read_answer(text: str, word: str) -> dict[str, Any]:
    """Report fields from the body of a 200 answer to `make_question`."""
    try:
        choice = read_completion(text.encode()).choices[0]
    except NotACompletion as error:
        return {"status": 200, "detail": str(error)[:200]}
    content = choice.content or ""
    cut = choice.finish_reason == "length"
    # Some chat templates open the thought in the prompt, so that only its end is seen.
    thinks = content.lstrip().startswith("<think") or "</think>" in content
    return {
        "thinking_leaks": thinks or (choice.reasoning_content and word not in content),
        "constrains_output": word in content,
        "endless_whitespace": cut and len("".join(content.split())) < len(content) / 2,
        "gives_logprobs": choice.score_probs is not None,
    }


def text_field(text: str, name: str) -> str | None:
    """A text field of a JSON object, None where it is not there."""
    try:
        value = json.loads(text)[name]
    except (ValueError, KeyError, TypeError):
        return None
    return value if isinstance(value, str) else None


def error_text(text: str) -> str:
    """What an error body says, at most 200 characters."""
    try:
        return str(json.loads(text)["error"]["message"])[:200]
    except (ValueError, KeyError, TypeError):
        return " ".join(text.split())[:200] or "no answer"
