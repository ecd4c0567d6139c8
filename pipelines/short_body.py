"""A reply's body without the logprobs that nobody reads: all but those of its last tokens.

With five alternatives a token, logprobs are nine tenths of a reply, and the score is at its end.
"""

from __future__ import annotations

# The score, the brackets after it, the end of the turn, and some room.
LAST_TOKENS = 6
_BEGIN = b'"logprobs":{"content":['
_END = b']},"finish_reason":'
_ALTERNATIVES = b'"top_logprobs":['


def without_early_logprobs(body: bytes) -> bytes:
    """The same reply with the logprobs of early tokens cut out, which spares parsing them.

    It knows the form in which vLLM writes them; in any other, the body comes back as it is. A quote
    within a JSON string is escaped, so what is looked for here is a key and never part of a text.
    """
    parts: list[bytes] = []
    kept_to = 0
    while (begin := body.find(_BEGIN, kept_to)) >= 0:
        begin += len(_BEGIN)
        end = body.find(_END, begin)
        if end < 0:
            break
        cut = _early_end(body, begin, end)
        if cut > begin:
            # What is left of the token before is an entry without a token, which ends a search.
            parts += (body[kept_to:begin], b"{")
            kept_to = cut
        parts.append(body[kept_to:end])
        kept_to = end
    return b"".join((*parts, body[kept_to:])) if parts else body


def _early_end(body: bytes, begin: int, end: int) -> int:
    """Where the alternatives of the token before the last ones begin; -1 if there is none."""
    for _ in range(LAST_TOKENS + 1):
        end = body.rfind(_ALTERNATIVES, begin, end)
        if end < 0:
            break
    return end
