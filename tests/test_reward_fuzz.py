"""What bench.reward_abuse sends does what it is for: without the server's locks it would get in."""

import copyreg
import os
import pickle
import pickletools
import random

import pytest

from bench.calling_pickles import EXTENSIONS, calling_pickles
from bench.reward_fuzz import KINDS, good_request, lay_out, ways_out
from foundry.rewards import builtin_pickle
from foundry.rewards.builtin_pickle import PickleRefused, load_builtins
from foundry.rewards.items import BadItem, read_picture
from foundry.rewards.settings import RewardImages
from pipelines import picture_refs


@pytest.fixture
def registered():
    """Names by number, for the opcodes that need them, one at a time."""
    there = []

    def register(opcode):
        if opcode in EXTENSIONS:
            there.append(("os", "mkdir", EXTENSIONS[opcode]))
            copyreg.add_extension(*there[-1])

    yield register
    for one in there:
        copyreg.remove_extension(*one)


@pytest.mark.parametrize("opcode", calling_pickles("made"))
def test_a_pickle_that_calls_when_it_is_read_plainly_is_refused_by_either_lock(
    opcode, tmp_path, registered, monkeypatch
):
    made = tmp_path / "made"
    body = calling_pickles(made)[opcode]
    registered(opcode)
    assert opcode in {one.name for one, _, _ in pickletools.genops(body)}
    with pytest.raises(PickleRefused, match="opcode"):
        load_builtins(body)
    every = frozenset(one.name for one in pickletools.opcodes)
    with monkeypatch.context() as without:
        without.setattr(builtin_pickle, "_ALLOWED", every)
        with pytest.raises(PickleRefused, match="names a class"):
            load_builtins(body)
    assert not made.exists()
    pickle.loads(body)
    assert made.is_dir()


@pytest.fixture
def folder(tmp_path):
    found = tmp_path / "f"
    found.mkdir()
    lay_out(found)
    return found


def read(folder, value):
    return read_picture("image", value, limits=RewardImages(), files=str(folder / "allowed"))


def test_every_way_out_of_the_folder_leads_to_a_picture_and_is_refused(folder, monkeypatch):
    secret = (folder / "secret.jpg").read_bytes()
    for way in ways_out(folder):
        with pytest.raises(BadItem, match="outside_root"):
            read(folder, way)

    def anywhere(path, root):
        return os.path.realpath(os.path.join(root, path))

    monkeypatch.setattr(picture_refs, "resolve_path", anywhere)
    monkeypatch.setattr("foundry.rewards.items.resolve_path", anywhere)
    for way in ways_out(folder):
        assert read(folder, way)["seen_data"] == secret, way


def test_pictures_inside_are_asked_for_both_ways(folder):
    inside = (folder / "allowed" / "inside.jpg").read_bytes()
    items = [good_request(number, folder)[1].get("items") for number in range(8)]
    images = [one[0]["image"] for one in items if one and len(one[0]["image"]) < 200]
    assert len(set(images)) == 2
    for image in images:
        assert read(folder, image)["seen_data"] == inside


def test_each_pickle_that_calls_is_among_what_is_sent(folder):
    dice = random.Random(0)
    sent = {KINDS["pickle"](dice, folder)[1] for _ in range(400)}
    assert sent >= {*calling_pickles(folder / "made").values()}
