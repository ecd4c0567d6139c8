"""Pickles of builtins come through, and nothing else does or takes for ever."""

import contextlib
import pickle
import pickletools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundry.rewards.builtin_pickle import PickleRefused, load_builtins

BUILTINS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
)


@given(BUILTINS, st.integers(2, pickle.HIGHEST_PROTOCOL))
def test_builtins_come_through(value, protocol):
    data = pickle.dumps(value, protocol)
    names = {opcode.name for opcode, _, _ in pickletools.genops(data)}
    # Bytes had no opcode before protocol 3, and long integers are no part of any format here.
    if names & {"GLOBAL", "REDUCE", "LONG4"}:
        with pytest.raises(PickleRefused):
            load_builtins(data)
    else:
        assert load_builtins(data) == value


def test_what_would_not_end_is_refused_at_once():
    shared = ()
    for _ in range(60):
        shared = (shared, shared)
    bomb = pickle.dumps(shared, 2)
    with pytest.raises(PickleRefused, match="too many values"):
        load_builtins(bomb)
    # As a key it would be hashed: {bomb: None}.
    with pytest.raises(PickleRefused, match="no text"):
        load_builtins(b"\x80\x02}" + bomb[2:-1] + b"Ns.")
    # All of these have one hash.
    with pytest.raises(PickleRefused, match="no text"):
        load_builtins(pickle.dumps({n * (2**61 - 1): None for n in range(3000)}, 4))
    endless = []
    endless.append(endless)
    with pytest.raises(PickleRefused, match="too many values"):
        load_builtins(pickle.dumps(endless, 4))
    # One dict for all is what FIRM's trainers send.
    one = {"a": 1}
    assert load_builtins(pickle.dumps([one] * 64, 4)) == [one] * 64


@settings(max_examples=300)
@given(st.binary(max_size=400))
def test_any_bytes_are_a_value_or_are_refused(data):
    with contextlib.suppress(PickleRefused):
        load_builtins(b"\x80\x04" + data + b".")


OPENED = """
PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT SHORT_BINUNICODE
BINUNICODE BINUNICODE8 SHORT_BINBYTES BINBYTES BINBYTES8 EMPTY_LIST APPEND APPENDS EMPTY_DICT
SETITEM SETITEMS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 MEMOIZE
BINPUT LONG_BINPUT BINGET LONG_BINGET
"""


def opcodes():
    return [one for one in pickletools.opcodes if one.name not in OPENED.split()]


@pytest.mark.parametrize("opcode", opcodes(), ids=lambda opcode: opcode.name)
def test_every_other_opcode_is_refused(opcode):
    code = opcode.code.encode("latin-1")
    with pytest.raises(PickleRefused):
        load_builtins(b"\x80\x04" + b"K\x01" * 3 + code + b"os\nmkdir\n" + b"." * 9)


def test_a_length_that_the_body_does_not_have_is_refused():
    for code in (b"\x8e", b"\x8d"):  # BINBYTES8, BINUNICODE8
        with pytest.raises(PickleRefused):
            load_builtins(b"\x80\x04" + code + (1 << 40).to_bytes(8, "little") + b"abc.")
    with pytest.raises(PickleRefused, match="gaps"):
        load_builtins(b"\x80\x04Nr\xff\xff\xff\x7f.")
