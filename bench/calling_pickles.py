"""Pickles that call `os.mkdir` through each opcode that can be made to: for bench.reward_fuzz."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

# These name by a number, under which `copyreg.add_extension` must have registered `os.mkdir`: in
# the server nobody has, so there they call nothing.
EXTENSIONS: Mapping[str, int] = {"EXT1": 200, "EXT2": 40_000, "EXT4": 3_000_000}


def calling_pickles(made: Path) -> Mapping[str, bytes]:
    """Of an opcode: a pickle that makes the folder when it is read plainly.

    That opcode calls, or names what is called; what it needs for that stands before it.
    """
    path = _text(str(made))
    mkdir, call = _global("os", "mkdir"), path + b"\x85R"
    # `map` calls when something reads it, as `tuple` does while it is made.
    mapped = _global("builtins", "map") + mkdir + path + b"\x85\x86\x81"
    read = _global("builtins", "tuple") + mapped + b"\x85"
    bodies = {
        "GLOBAL": mkdir + call,
        "REDUCE": mkdir + b"(" + path + b"tR",
        "STACK_GLOBAL": _text("os") + _text("mkdir") + b"\x93" + call,
        "INST": b"(" + path + b"ios\nmkdir\n",
        "OBJ": b"(" + mkdir + path + b"o",
        "NEWOBJ": read + b"\x81",
        "NEWOBJ_EX": read + b"}\x92",
        "BUILD": _with("__setstate__") + path + b"b",
        "APPEND": _with("append") + path + b"a",
        "APPENDS": _with("append") + b"(" + path + b"e",
        "ADDITEMS": _with("add") + b"(" + path + b"\x90",
        "EXT1": b"\x82" + EXTENSIONS["EXT1"].to_bytes(1, "little") + call,
        "EXT2": b"\x83" + EXTENSIONS["EXT2"].to_bytes(2, "little") + call,
        "EXT4": b"\x84" + EXTENSIONS["EXT4"].to_bytes(4, "little") + call,
    }
    return {name: b"\x80\x04" + body + b"." for name, body in bodies.items()}


def _with(method: str) -> bytes:
    """An object whose method of that name is `os.mkdir`."""
    plain = _global("argparse", "Namespace") + b")\x81"
    return plain + b"}" + _text(method) + _global("os", "mkdir") + b"sb"


def _global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _text(text: str) -> bytes:
    return b"X" + len(text.encode()).to_bytes(4, "little") + text.encode()
