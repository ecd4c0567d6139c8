"""Requests that mean the reward server ill, drawn by dice: `KINDS`, for bench.reward_abuse.

They are of a folder that `lay_out` has filled, whose `allowed` alone may be read.
"""

from __future__ import annotations

import base64
import json
import os
import pickle
import pickletools
import random
import struct
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from bench.calling_pickles import calling_pickles
from bench.reward_server import make_item

# The largest body, in bytes, that is let in.
MAX_BODY = 8_000_000
# Of dice and a folder: a path of the server and a body.
Fuzz = Callable[[random.Random, Path], tuple[str, bytes]]


def lay_out(folder: Path) -> None:
    """A picture in `allowed`, one outside that nobody may read, and links inside to the latter."""
    allowed = folder / "allowed"
    allowed.mkdir()
    for number, path in enumerate((allowed / "inside.jpg", folder / "secret.jpg")):
        path.write_bytes(base64.b64decode(make_item(number)["image"]))
    (allowed / "link.jpg").symlink_to(folder / "secret.jpg")
    (allowed / "up").symlink_to(folder)


def good_request(number: int, folder: Path) -> tuple[str, dict[str, Any]]:
    """A request that is to be answered: its path and its JSON."""
    match number % 4:
        case 0:
            images = [make_item(n)["image"] for n in range(number % 61, number % 61 + 3)]
            return "/v1/group", {"prompt": "A hat.", "images": images, "mode": "win_rate"}
        case 1:
            ways = ["inside.jpg", f"file://{folder}/allowed/inside.jpg"]
            image = ways[number // 4 % 2]
            return "/v1/score", {"items": [{"task": "gen", "prompt": "A hat.", "image": image}]}
        case _:
            return "/v1/score", {"items": [make_item(number % 64)]}


def _bytes(dice: random.Random, folder: Path) -> tuple[str, bytes]:
    path = dice.choice(["/v1/score", "/v1/group", "/mode/score", "/compute", "/", "/v1/none"])
    return path, dice.randbytes(dice.randrange(4000))


def _value(dice: random.Random, depth: int = 0) -> Any:
    plain = [None, True, 0, -1, 1e308, "", "edit", "gen", "x" * dice.randrange(999), "\x00", "é"]
    if depth > 3 or dice.random() < 0.5:
        return dice.choice(plain)
    if dice.random() < 0.5:
        return [_value(dice, depth + 1) for _ in range(dice.randrange(5))]
    names = ["items", "task", "prompt", "image", "images", "instruction", "mode", "deadline_s", "x"]
    return {dice.choice(names): _value(dice, depth + 1) for _ in range(dice.randrange(5))}


def _json(dice: random.Random, folder: Path) -> tuple[str, bytes]:
    path = dice.choice(["/v1/score", "/v1/group", "/compute"])
    if dice.random() < 0.1:
        return path, b'{"items":' * dice.randrange(1, 50_000)
    return path, json.dumps(_value(dice)).encode()


def _item(dice: random.Random, folder: Path) -> tuple[str, bytes]:
    item: dict[str, Any] = dict(make_item(dice.randrange(64)))
    item[dice.choice([*item, "more"])] = _value(dice)
    return "/v1/score", json.dumps({"items": [item]}).encode()


def ways_out(folder: Path) -> list[str]:
    """Paths that lead from `allowed` to the picture outside."""
    allowed = folder / "allowed"
    up = "../" * len(allowed.parts)
    plain = ["../secret.jpg", "x/../../secret.jpg", f"{up}{folder}/secret.jpg"]
    plain += ["link.jpg", "up/secret.jpg", f"{folder}/secret.jpg", f"{allowed}/link.jpg"]
    urls = [f"{folder}/secret.jpg", f"{allowed}/../secret.jpg", f"{allowed}/%2e%2e/secret.jpg"]
    urls += [f"{allowed}/link.jpg", f"{allowed}/up/secret.jpg"]
    return [*plain, *(f"file://{url}" for url in urls), f"FILE://localhost{folder}/secret.jpg"]


def _path(dice: random.Random, folder: Path) -> tuple[str, bytes]:
    ways = ["/etc/passwd", "/proc/self/environ", "/dev/zero", "http://127.0.0.1:1/x", "a\x00b"]
    image = dice.choice([*ways, *ways_out(folder)])
    item = {"task": "gen", "prompt": "A hat.", "image": image}
    return "/v1/score", json.dumps({"items": [item]}).encode()


def _lying_picture(dice: random.Random, folder: Path) -> tuple[str, bytes]:
    """A PNG that says it is huge, or a picture with bytes changed or cut off."""
    data = bytearray(base64.b64decode(make_item(dice.randrange(64))["image"]))
    match dice.randrange(3):
        case 0:
            size = struct.pack(
                ">IIBBBBB", *[dice.choice([1, 65_000, 2**31 - 1])] * 2, 8, 2, 0, 0, 0
            )
            data = bytearray(b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", size))
            data += _chunk(b"IDAT", zlib.compress(b"\0" * 100_000)) + _chunk(b"IEND", b"")
        case 1:
            for _ in range(dice.randrange(1, 40)):
                data[dice.randrange(len(data))] = dice.randrange(256)
        case _:
            data = data[: dice.randrange(len(data))]
    image = base64.b64encode(bytes(data)).decode()
    item = {"task": "gen", "prompt": "A hat.", "image": image}
    return "/v1/score", json.dumps({"items": [item]}).encode()


def _bomb(dice: random.Random, folder: Path) -> tuple[str, bytes]:
    """A small picture of as many pixels as are let in, or a few more."""
    image = base64.b64encode(_many_pixels(dice.choice([4990, 5000, 5001]))).decode()
    item = {"task": "gen", "prompt": "A hat.", "image": image}
    return "/v1/score", json.dumps({"items": [item]}).encode()


@cache
def _many_pixels(side: int) -> bytes:
    size = struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0)
    rows = zlib.compress(bytes(side * (4 * side + 1)))
    data = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", size)
    return data + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")


def _chunk(name: bytes, data: bytes) -> bytes:
    whole = name + data
    return struct.pack(">I", len(data)) + whole + struct.pack(">I", zlib.crc32(whole))


class _Run:
    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


def _pickle(dice: random.Random, folder: Path) -> tuple[str, bytes]:
    route = dice.choice(["score_execution", "score_consistency", "logits_non_cot", "score"])
    columns: Mapping[str, Any] = {"images": [b"x"], "ref_images": [b"x"], "prompts": ["p"]}
    match dice.randrange(5):
        case 0:
            value = {**columns, "metadatas": [_Run(folder / "made")]}
            data = pickle.dumps(value, dice.randrange(6))
        case 1:
            data = dice.choice([*calling_pickles(folder / "made").values()])
        case 2:
            opcode = dice.choice(pickletools.opcodes).code.encode("latin-1")
            data = b"\x80\x04" + b"K\x01" * 3 + opcode + b"os\nsystem\n" + b"."
        case 3:
            data = pickle.dumps(_value(dice), 4)
        case _:
            data = bytearray(pickle.dumps(dict(columns), 4))
            data[dice.randrange(len(data))] = dice.randrange(256)
    return f"/mode/{route}", bytes(data)


def _endless(dice: random.Random, folder: Path) -> tuple[str, bytes]:
    """What takes for ever where it is hashed, counted, printed or matched naively."""
    shared: tuple[Any, ...] = ()
    for _ in range(dice.randrange(20, 70)):
        shared = (shared, shared)
    route = f"/mode/{dice.choice(['score_execution', 'logits_non_cot', 'score'])}"
    columns = {"images": [b"x"], "ref_images": [b"x"], "prompts": ["p"]}
    match dice.randrange(4):
        case 0:
            name = dice.choice(["reward_blend_mode", "prompts", "metadatas"])
            return route, pickle.dumps({**columns, name: shared}, 4)
        case 1:
            # As a key: {shared: None}.
            return route, b"\x80\x02}" + pickle.dumps(shared, 2)[2:-1] + b"Ns."
        case 2:
            # Numbers of one hash, put together here without making the dict.
            numbers = (n * (2**61 - 1) for n in range(dice.randrange(20_000)))
            keys = b"".join(pickle.dumps(number, 2)[2:-1] + b"N" for number in numbers)
            return route, b"\x80\x02}(" + keys + b"u."
        case _:
            many = dice.choice([" ", "AA "]) * dice.randrange(1_000_000)
            image = "A" * 100 + many + "!"
            if dice.random() < 0.5:
                return "/compute", json.dumps({"prompt": ["p"], "image": [image]}).encode()
            item = {"task": "gen", "prompt": "A hat.", "image": image}
            return "/v1/score", json.dumps({"items": [item]}).encode()


def _large(dice: random.Random, folder: Path) -> tuple[str, bytes]:
    path = dice.choice(["/v1/score", "/mode/score", "/compute"])
    return path, b" " * dice.choice([MAX_BODY + 1, 2 * MAX_BODY, 5 * MAX_BODY])


def _slow(dice: random.Random, folder: Path) -> tuple[str, bytes]:
    return dice.choice(["/v1/score", "/mode/score"]), b"x" * 100


def _silent(dice: random.Random, folder: Path) -> tuple[str, bytes]:
    path = dice.choice(["/v1/score", "/mode/score"])
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n".encode()
    return path, head[: dice.choice([0, 1, 10, len(head)])]


def _no_token(dice: random.Random, folder: Path) -> tuple[str, bytes]:
    path, value = good_request(dice.randrange(64), folder)
    return path, json.dumps(value).encode()


KINDS: Mapping[str, Fuzz] = {
    "bytes": _bytes,
    "json": _json,
    "item": _item,
    "path": _path,
    "lying picture": _lying_picture,
    "pickle": _pickle,
    "endless": _endless,
    "large": _large,
    "slow": _slow,
    "bomb": _bomb,
    "silent": _silent,
    "no token": _no_token,
}
