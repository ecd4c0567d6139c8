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
# Of so many words or more, fewer distinct than this share are a loop: who counts a few things one
# by one comes to 0.39. A long text is looked at in stretches, as its words come again.
_LOOP_WORDS = 8
_LEAST_DISTINCT = 1 / 3
_STRETCH = 50
# Bytes of a text over those of its zlib stream; above it, Whisper (arXiv:2212.04356) calls a
# transcript a loop. Short texts are not told by it.
_MOST_COMPRESSION = 2.4
_FOREIGN_LETTERS = 0.3
# The language of fewer words, or of a lower probability, is a guess.
_LANGUAGE_WORDS = 4
_SURE_OF_LANGUAGE = 0.9
_LIKELY_LANGUAGE = 0.5
# What a form asks for, and that it is to be written where this stands.
_SLOT = r"(?:reasoning|rationale|explanation|justification|score|verdict|evidence)s?"
_GOES = r"(?:goes|comes|belongs|to be (?:filled in|written|added))"
# Of the forms in the prompts and of chats, what a judge copies instead of filling in.
_ECHOES = re.compile(
    # Marks of a chat, and of a form.
    r"<[|\uff5c][\w\u2581 ]+[|\uff5c]>|\[/?inst\]|<</?sys>>|</?s>|<(?:start|end)_of_turn>|"
    r"<(?:pad|eos|bos|unk)>|```|\$\{?[a-z_]+|"
    r"</?(?:instruction|prompt|image|think|answer|reasoning|rationale|score)\b|"
    r'reply with json|"(?:reasoning|score|verdicts|evidence|type|properties)"\s*:|'
    # A text that is one placeholder, or has one.
    r"^\W*\.\.\.\W*$|^\s*(?:<[^<>]*>|\[[^\[\]]*\]|\{[^{}]*\})\s*$|"
    rf"[<\[{{][\w,' -]*\b{_SLOT}\b[\w,' -]*[>\]}}]|\blorem ipsum\b|"
    rf"\b{_SLOT} {_GOES} here\b|\bthe {_SLOT} here\W*$|"
    rf"\b(?:insert|your|write|add|put) (?:\w+ ){{0,2}}{_SLOT} here\b|"
    # What was asked for, said again, or nothing said.
    r"^\W*(?:insert|write|put|provide|give|state|explain|describe|fill in)\b[^.]{0,40}\b"
    r"(?:reasoning|rationale|explanation|justification|score|sentences?)\b|"
    rf"^\W*no {_SLOT} (?:(?:is|was) )?(?:given|provided|available|needed|necessary|required)\b|"
    r"^\W*(?:an? |your )?(?:\w+ )?(?:reasoning|rationale|explanation|justification) (?:of|for) "
    r"(?:the|your) (?:score|rating)\W*$|"
    r"^\W*(?:one|two|\d) ?(?:-|\u2013|to|or) ?(?:two|three|four|\d) (?:\w+ )?sentences?\b|"
    r"\bas an ai\b|\bas a (?:large )?language model\b|"
    r"\bi (?:cannot|can['\u2019]t|am (?:unable|not able) to) (?:see|view|access|open) "
    r"(?:the |any |these |this )?(?:images?|pictures?|photos?)\b",
    re.IGNORECASE,
)
_QUOTED = re.compile(
    r"\"[^\"]*\"|(?<!\w)'[^']*'(?!\w)|\u201c[^\u201d]*\u201d|(?<!\w)\u2018[^\u2019]*\u2019(?!\w)"
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
    # What a picture says over and over may be quoted.
    if _is_loop(words) and _is_loop(words_of(_QUOTED.sub(" ", reasoning))):
        return f"repetition: {len(set(words))} of {len(words)} words are distinct"
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


def _is_loop(words: list[str]) -> bool:
    """Whether few words are said over and over, in all of a short text or a stretch of a long."""
    starts = range(0, max(len(words) - _STRETCH, 0) + 1, _STRETCH // 2)
    # The last words as well, wherever the steps end: loops are at the end.
    stretches = [*(words[start : start + _STRETCH] for start in starts), words[-_STRETCH:]]
    if len(words) < _LOOP_WORDS:
        return len(words) > _MOST_OF_ONE_SENTENCE and len(set(words)) == 1
    return any(len(set(stretch)) < _LEAST_DISTINCT * len(stretch) for stretch in stretches)


def _sentences(text: str) -> list[str]:
    """Sentences as words; what is shorter than three words is an abbreviation's."""
    parts = [words_of(part) for part in _SENTENCE.split(text)]
    return [" ".join(words) for words in parts if len(words) >= _SENTENCE_WORDS]


def _scripts(text: Iterable[str]) -> set[str]:
    return {script for char in text if (script := _script(char))}


def _script(char: str) -> str | None:
    """The first word of a letter's Unicode name, such as LATIN or CJK; None for other signs."""
    return unicodedata.name(char, "").split(" ")[0] if char.isalpha() else None
