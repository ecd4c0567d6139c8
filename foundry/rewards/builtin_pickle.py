"""Pickles of builtins alone, from senders that nobody vouches for.

Two locks: an opcode that could name, call or build anything is refused before anything is built,
and so are gaps in the memo and more opcodes than any honest body has; then an unpickler reads that
knows no name at all, and no key but text.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from typing import Any, ClassVar

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
# Values, each as often as it is reached: what is shared with itself sixty times is 2^60 of them.
_MOST_VALUES = 100_000


class PickleRefused(Exception):
    """A body that is no pickle of builtins; the message says what was met."""


# The standard library's own in Python, so that other threads have their turn, and a key is seen
# before it is hashed: that takes for ever of a tuple shared with itself, or of colliding numbers.
_InPython: Any = vars(pickle)["_Unpickler"]


class _TextKeys(_InPython):
    dispatch: ClassVar[dict[int, Any]] = dict(_InPython.dispatch)

    def find_class(self, module_name: str, global_name: str) -> Any:
        raise PickleRefused("it names a class")

    def load_setitem(self) -> None:
        _check_keys(self.stack[-2:-1])
        super().load_setitem()

    def load_setitems(self) -> None:
        # Since the mark, keys and values take turns.
        _check_keys(self.stack[::2])
        super().load_setitems()

    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = load_setitems


def _check_keys(keys: list[Any]) -> None:
    if any(not isinstance(key, str) for key in keys):
        raise PickleRefused("a dict has a key that is no text")


def load_builtins(data: bytes) -> Any:
    """The value of a pickle that holds builtins alone, and text as keys. Raises PickleRefused."""
    try:
        for n, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if n > _MOST_OPCODES:
                raise PickleRefused("it has too many values")
            if opcode.name not in _ALLOWED:
                raise PickleRefused(f"it has the opcode {opcode.name}")
            # Some memos are an array as long as the highest index.
            if opcode.name in _PUTS and int(argument or 0) > n:
                raise PickleRefused("its memo has gaps")
        value = _TextKeys(io.BytesIO(data)).load()
    except PickleRefused:
        raise
    except Exception as error:
        # The unpickler raises whatever the bytes make it.
        raise PickleRefused(f"it cannot be read: {type(error).__name__}") from error
    _check_size(value)
    return value


def _check_size(value: Any) -> None:
    """Raises PickleRefused for more values than any honest body has, such as endless ones."""
    waiting, n = [value], 0
    while waiting:
        one = waiting.pop()
        if not isinstance(one, dict | list | tuple):
            continue
        n += len(one)
        if n > _MOST_VALUES:
            raise PickleRefused("it has too many values")
        waiting.extend(one.values() if isinstance(one, dict) else one)
