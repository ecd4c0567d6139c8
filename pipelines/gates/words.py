"""A text as words, in any script."""

from __future__ import annotations

import re
import unicodedata

# Scripts that put no spaces between words: each character counts as one.
_UNSPACED = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
# Vowel signs and the like, which belong to a word and are no letters to Python.
_SIGNS = r"\u0300-\u036f\u0900-\u0dff\u0e00-\u0eff\u200c\u200d"
_WORD = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])[\w{_SIGNS}])+")


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation."""
    return _WORD.findall(text.lower())


def word_runs(text: str, length: int) -> list[str]:
    """Every `length` words in a row, joined by spaces."""
    words = words_of(text)
    return [" ".join(words[i : i + length]) for i in range(len(words) - length + 1)]


def normalise_text(text: str) -> str:
    """A text without what does not change its meaning: case, spacing, form of its characters."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split()).rstrip(".!? ")
