"""Pickles of builtins alone, from senders that nobody vouches for.

Two locks: an opcode that could name, call or build anything is refused before anything is built,
and so are gaps in the memo and more opcodes than any honest body has; then an unpickler reads that
knows no name at all.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from typing import Any

# What protocols 2 to 5 write of None, booleans, numbers, text, bytes, lists, tuples and dicts.
_OPCODES = """
PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT
SHORT_BINUNICODE BINUNICODE BINUNICODE8 SHORT_BINBYTES BINBYTES BINBYTES8
EMPTY_LIST APPEND APPENDS EMPTY_DICT SETITEM SETITEMS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3
MEMOIZE BINPUT LONG_BINPUT BINGET LONG_BINGET
"""
_ALLOWED = frozenset(_OPCODES.split())
_PUTS = ("BINPUT", "LONG_BINPUT")
# A picture, text or number takes two or three; an empty list of one byte takes 56 in memory.
_MOST_OPCODES = 100_000


class PickleRefused(Exception):
    """A body that is no pickle of builtins; the message says what was met."""


class _NoNames(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        raise PickleRefused("it names a class")


def load_builtins(data: bytes) -> Any:
    """The value of a pickle that holds builtins alone. Raises PickleRefused."""
    try:
        for n, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if n > _MOST_OPCODES:
                raise PickleRefused("it has too many values")
            if opcode.name not in _ALLOWED:
                raise PickleRefused(f"it has the opcode {opcode.name}")
            # The memo is an array as long as its highest index.
            if opcode.name in _PUTS and int(argument or 0) > n:
                raise PickleRefused("its memo has gaps")
        return _NoNames(io.BytesIO(data)).load()
    except PickleRefused:
        raise
    except Exception as error:
        # The unpickler raises whatever the bytes make it.
        raise PickleRefused(f"it cannot be read: {type(error).__name__}") from error
