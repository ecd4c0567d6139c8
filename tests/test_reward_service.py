"""The reward server's work on a request, without a process and without a judge."""

import asyncio
import threading
import time
from types import SimpleNamespace

import pytest

from foundry.rewards.groups import read_group
from foundry.rewards.items import BadItem, RawItem
from foundry.rewards.service import Service
from foundry.rewards.settings import RewardSettings

JUDGE = {"url": "http://127.0.0.1:1/v1", "model": "m"}
GEN = RawItem(kind="gen", axes=(None,), text="A hat.", pictures=("bm8=",))


def make_service(**settings):
    checked = RewardSettings.model_validate({"endpoint": JUDGE, **settings})
    chat = SimpleNamespace(pool=SimpleNamespace(servers=[]))
    return Service(settings=checked, chat=chat, token=None, files=None)


@pytest.fixture
def slow_pictures(monkeypatch):
    def slowly(name, value, **_):
        time.sleep(0.4)
        raise BadItem("picture:empty", name)

    monkeypatch.setattr("foundry.rewards.items.read_picture", slowly)


def test_pictures_are_looked_at_within_the_deadline(slow_pictures):
    service, started = make_service(), time.monotonic()
    answers = asyncio.run(service._answers([GEN] * 64, started + 0.1))
    assert {answer["reason"] for answer in answers} == {"deadline"}
    assert time.monotonic() - started < 5  # All of them would take 64 x 0.4 s on a core.


def test_a_groups_pictures_are_looked_at_within_the_deadline(slow_pictures):
    group = read_group({"prompt": "A hat.", "images": ["bm8="] * 8, "mode": "win_rate"}, most=8)
    found = asyncio.run(make_service()._compare(group, time.monotonic() + 0.1))
    assert {one["reason"] for one in found["reasons"]} == {"deadline"}
    assert set(found["rewards"]) == {None}


def test_a_large_body_is_parsed_beside_the_loop_and_a_small_one_at_once():
    def where(body):
        return threading.current_thread() is threading.main_thread()

    service = make_service()
    assert asyncio.run(service.parse(where, b"x" * 1000))
    assert not asyncio.run(service.parse(where, b"x" * 1_000_000))
