"""Rationales that are no text, or none in the language of the row: repetition, a word or two,
another script or language, an echo of the form.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable
from functools import cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from pipelines.gates.words import words_of

_FEWEST_WORDS = 2
_SENTENCE_WORDS = 3
_MOST_OF_ONE_SENTENCE = 2
# Bytes of a text over those of its zlib stream; above it, Whisper (arXiv:2212.04356) calls a
# transcript a loop. Short texts are not told by it.
_MOST_COMPRESSION = 2.4
_FOREIGN_LETTERS = 0.3
# The language of fewer words, or of a lower probability, is a guess.
_LANGUAGE_WORDS = 4
_SURE_OF_LANGUAGE = 0.9
_LIKELY_LANGUAGE = 0.5
# Of the forms in the prompts, what a judge copies instead of filling in.
_ECHOES = re.compile(
    r"\$\{?[a-z_]+|</?(?:instruction|prompt|image|think|answer)\b|reply with json|"
    r'"(?:reasoning|score|verdicts|evidence)"\s*:|^\W*\.\.\.\W*$|\blorem ipsum\b|'
    r"\b(?:insert|your|the) (?:reasoning|explanation|score) here\b|\bas an ai\b",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"[.!?]+(?:\s|$)|\n|[\u3002\uff01\uff1f]")


def find_degenerate(reasoning: str, *, visible: str) -> str | None:
    """What is wrong with a rationale as a text, None for nothing.

    `visible` is the instruction or prompt, whose script the rationale may use besides Latin, and
    whose language it may be in instead of English.
    """
    words = words_of(reasoning)
    if len(words) < _FEWEST_WORDS:
        return f"too short: {len(words)} words"
    echo = _ECHOES.search(reasoning)
    if echo and echo[0].lower() not in visible.lower():
        return f"an echo of the form: '{echo[0]}'"
    for sentence, times in Counter(_sentences(reasoning)).most_common(1):
        if times > _MOST_OF_ONE_SENTENCE:
            return f"repetition: '{sentence}' {times} times"
    data = reasoning.encode()
    ratio = len(data) / len(zlib.compress(data))
    if ratio > _MOST_COMPRESSION:
        return f"repetition: its text compresses {ratio:.1f} times"
    known = _scripts(visible) | {"LATIN"}
    letters = [script for char in reasoning if (script := _script(char))]
    foreign = sum(script not in known for script in letters)
    if not letters or foreign > _FOREIGN_LETTERS * len(letters):
        return f"another script: {foreign} of {len(letters)} letters"
    if len(words) < _LANGUAGE_WORDS or 2 * letters.count("LATIN") < len(letters):
        return None
    language = language_of(reasoning, sure=_SURE_OF_LANGUAGE)
    # Where the row itself is not in English, related languages are not told apart.
    told = len(words_of(visible)) >= _LANGUAGE_WORDS
    row_language = language_of(visible, sure=_LIKELY_LANGUAGE) if told else None
    if row_language in (None, "en") and language not in (None, "en"):
        return f"another language: {language}"
    return None


def language_of(text: str, *, sure: float) -> str | None:
    """ISO 639-1 code of a text's language; None where its probability is below `sure`.

    Source: M. Lui and T. Baldwin, langid.py (ACL 2012), as py3langid has it.
    """
    language, probability = _identifier().classify(text)
    return language if probability >= sure else None


@cache
def _identifier() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def _sentences(text: str) -> list[str]:
    """Sentences as words; what is shorter than three words is an abbreviation's."""
    parts = [words_of(part) for part in _SENTENCE.split(text)]
    return [" ".join(words) for words in parts if len(words) >= _SENTENCE_WORDS]


def _scripts(text: Iterable[str]) -> set[str]:
    return {script for char in text if (script := _script(char))}


def _script(char: str) -> str | None:
    """The first word of a letter's Unicode name, such as LATIN or CJK; None for other signs."""
    return unicodedata.name(char, "").split(" ")[0] if char.isalpha() else None
