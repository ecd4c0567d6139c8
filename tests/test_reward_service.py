"""The reward server's work on a request, without a process and without a judge."""

import asyncio
import io
import os
import threading
import time
from types import SimpleNamespace

import pytest
from PIL import Image
from pydantic import ValidationError

from foundry.rewards.admission import Refused, or_gone
from foundry.rewards.groups import read_group
from foundry.rewards.items import BadItem, BadRequest, RawItem, _read_file, read_picture
from foundry.rewards.judges import Judges
from foundry.rewards.scoring import questions_of
from foundry.rewards.service import Service
from foundry.rewards.settings import RewardSettings
from foundry.rewards.tally import BYTES, QUESTIONS, REQUESTS, Tally, make_slots

JUDGE = {"url": "http://127.0.0.1:1/v1", "model": "m"}
_OUT = io.BytesIO()
Image.new("RGB", (64, 48)).save(_OUT, "PNG")
PNG = _OUT.getvalue()
EDIT = ("execution", "consistency")
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
    for n, at_once in ((1000, True), (1_000_000, False)):
        assert asyncio.run(bodied(service, where, b"x" * n)) is at_once


class Sent:
    """A request whose body comes in parts, and says beforehand how long it is."""

    def __init__(self, *parts, announced=None):
        self.parts, self.read = parts, 0
        n = sum(map(len, parts)) if announced is None else announced
        self.headers = {"content-length": str(n)} if n else {}

    async def stream(self):
        for part in self.parts:
            self.read += 1
            yield part


async def bodied(service, parser, *parts, **more):
    async with service.body(Sent(*parts, **more), parser) as found:
        return found


def test_nothing_is_read_of_a_body_that_is_not_let_in():
    service = make_service(max_waiting=2, max_items=2)
    sent = Sent(b"{}")

    async def ask():
        async with service.body(sent, len):
            pass

    with service.room.work(2), pytest.raises(Refused, match="come again"):
        asyncio.run(ask())
    service.room.draining = True
    with pytest.raises(Refused, match="going down"):
        asyncio.run(ask())
    service.room.draining = False
    service.tally.add(REQUESTS, 4096)
    with pytest.raises(Refused, match="4096 requests"):
        asyncio.run(ask())
    assert sent.read == 0
    service.tally.clear()
    asyncio.run(ask())
    assert sent.read == 1


def test_room_for_a_body_is_taken_before_it_comes_and_given_back():
    service = make_service(max_body_mb=1)
    room, seen = service.room, []

    async def slow():
        async with service.body(Sent(b"x" * 500_000, announced=900_000), len):
            seen.append(room.held)
            await asyncio.sleep(0.2)

    async def run():
        many = await asyncio.gather(*(slow() for _ in range(5)), return_exceptions=True)
        assert [type(one) for one in many] == [type(None)] * 4 + [Refused]
        # Without a length room is taken by part.
        async with service.body(Sent(b"x" * 700_000, b"x" * 100_000, announced=0), len) as n:
            assert (n, room.held) == (800_000, 800_000)
        with pytest.raises(Refused, match="max_body_mb"):
            await bodied(service, len, b"x" * 1_500_000)

    asyncio.run(run())
    assert max(seen) == 3_600_000
    assert room.held == 0


def test_a_request_is_counted_by_its_questions():
    plain, qma = make_service().settings, make_service(gen_reward="qma").settings
    votes = make_service(mode="average", k=4).settings
    assert [questions_of("edit", EDIT, one) for one in (plain, qma, votes)] == [2, 2, 8]
    assert [questions_of("gen", (None,), one) for one in (plain, qma, votes)] == [1, 2, 4]
    room = make_service(max_waiting=4, max_items=4).room
    with pytest.raises(BadRequest, match="max_waiting"), room.work(5):
        pass
    with room.work(3):
        with pytest.raises(Refused, match="3 questions"), room.work(2):
            pass
        with room.work(1):
            assert room.questions == 4
    assert room.questions == 0
    with pytest.raises(ValidationError, match="never be let in"):
        make_service(max_items=5, max_waiting=4)


def test_what_was_sent_goes_when_it_was_read(slow_pictures):
    sent = [GEN] * 3
    asyncio.run(make_service()._answers(sent, time.monotonic() + 0.1))
    assert sent == []


def test_pictures_of_strangers_have_tighter_limits():
    limits = make_service(images={"max_side_px": 512}).settings.images
    assert limits.max_source_pixels == 25_000_000
    huge = io.BytesIO()
    Image.new("1", (6000, 5000)).save(huge, "PNG")
    with pytest.raises(BadItem, match="picture:bomb"):
        read_picture("image", huge.getvalue(), limits=limits)
    for field in ({"workers": 2}, {"originals": "reference"}, {"allow_http": True}):
        with pytest.raises(ValidationError, match=next(iter(field))):
            make_service(images=field)


def test_only_a_file_that_is_one_and_not_too_large_is_read(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a b.png").write_bytes(PNG)
    (tmp_path / "outside.png").write_bytes(PNG)
    os.mkfifo(tmp_path / "in/pipe")
    with open(tmp_path / "in/large", "wb") as file:
        file.truncate(1 << 40)
    files = os.path.realpath(tmp_path / "in")
    named = {"limits": make_service().settings.images, "files": files}
    for value in ("a b.png", f"file://{files}/a%20b.png", f"FILE://localhost{files}/a%20b.png"):
        assert read_picture("image", value, **named)["seen_data"] == PNG
    for value, reason in {
        "pipe": "picture:missing",
        ".": "picture:outside_root",
        "large": "picture:too_large",
        f"file://{tmp_path}/outside.png": "picture:outside_root",
        f"file://{files}/../outside.png": "picture:outside_root",
        f"file://{files}/a%00b": "picture:missing",
        "file://elsewhere/a b.png": "picture:remote_not_allowed",
        "file:///etc/passwd": "picture:outside_root",
    }.items():
        with pytest.raises(BadItem) as bad:
            read_picture("image", value, **named)
        assert bad.value.reason == reason
        assert str(tmp_path) not in bad.value.detail
    # One that became a link after its path was resolved.
    (tmp_path / "in/link").symlink_to(tmp_path / "outside.png")
    with pytest.raises(OSError, match="symbolic links"):
        _read_file(f"{files}/link", 1000)


def test_who_is_stopped_from_outside_while_the_work_ends_is_stopped():
    async def receive():
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.4)

    async def run():
        request = SimpleNamespace(receive=receive)
        asked = asyncio.ensure_future(or_gone(request, asyncio.sleep(0.1), asyncio.Event()))
        await asyncio.sleep(0.3)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked

    asyncio.run(run())


@pytest.mark.parametrize(("pauses_s", "told"), [((-5,), 1), ((7.2, 20), 8), ((99, 120), 30)])
def test_a_client_comes_again_when_a_judge_may_be_asked(pauses_s, told):
    now = time.monotonic()
    judges = Judges([SimpleNamespace(not_before_s=now + pause) for pause in pauses_s])
    assert judges.retry_after_s() == told


def test_workers_count_for_themselves_and_are_counted_together():
    slots = make_slots(list, 2)
    one, two = Tally(slots, 0), Tally(slots, 1)
    one.add(QUESTIONS, 3)
    two.add(QUESTIONS, 4)
    two.add(BYTES, 5)
    two.add(QUESTIONS, -1)
    assert [tally.total(QUESTIONS) for tally in (one, two)] == [6, 6]
    two.clear()
    assert (one.total(QUESTIONS), one.total(BYTES)) == (3, 0)
