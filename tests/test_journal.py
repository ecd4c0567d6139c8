"""The journal: what was appended is there, whatever happened to the process or the disk."""

import errno
import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.journal import Journal

ENTRIES = [
    ("a", {"reply": {"text": 'line\nbreak, "quotes", é, \ud800'}}),
    ("b", {"refused": ["request:too_long", "400"]}),
    ("a", {"reply": None}),
]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal" / "00000.jsonl"


def fill(path, entries=ENTRIES):
    journal = Journal(path)
    for answer_id, entry in entries:
        journal.append(answer_id, entry)
    journal.close()
    return path.read_bytes()


def kept(path):
    journal = Journal(path)
    found = {key: journal.replies(key) for key in ("a", "b")}
    journal.close()
    return found


def expected(n):
    found = {"a": [], "b": []}
    for answer_id, entry in ENTRIES[:n]:
        found[answer_id].append({"answer_id": answer_id, **entry})
    return found


def test_replies_come_back_in_order_by_their_answer(path):
    fill(path)
    assert kept(path) == expected(3)
    assert Journal(path).replies("never asked") == []


def test_a_last_line_torn_at_any_byte_is_dropped_and_the_next_append_is_whole(path):
    whole = fill(path)
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        finished = sum(end <= cut for end in ends)
        assert kept(path) == expected(finished), cut
        fill(path, [("c", {"n": cut})])
        lines = path.read_bytes().splitlines()
        assert len(lines) == finished + 1
        assert json.loads(lines[-1]) == {"answer_id": "c", "n": cut}
        assert kept(path) == expected(finished)


@settings(deadline=None)
@given(tail=st.binary(max_size=60))
def test_no_rubbish_at_the_end_hides_what_came_before(tail, tmp_path_factory):
    path = tmp_path_factory.mktemp("journal") / "j.jsonl"
    whole = fill(path)
    path.write_bytes(whole + tail.replace(b"answer_id", b""))
    assert kept(path) == expected(3)


@pytest.mark.parametrize("line", [b"1\n", b"null\n", b"[]\n", b'{"x":1}\n', b'{"answer_id":[]}\n'])
def test_a_line_that_is_no_entry_ends_the_journal(path, line):
    whole = fill(path)
    path.write_bytes(whole + line)
    assert kept(path) == expected(3)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("written", [0, 1, 20])
def test_a_full_disk_is_an_error_and_leaves_whole_lines(path, monkeypatch, written):
    whole = fill(path)
    journal = Journal(path)
    write = os.write
    monkeypatch.setattr("pipelines.journal.os.write", lambda f, data: write(f, data[:written]))
    with pytest.raises(OSError, match="no space left") as caught:
        journal.append("b", {"reply": "lost"})
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.undo()
    assert path.read_bytes() == whole
    assert len(journal.replies("b")) == 1
    journal.append("b", {"reply": "kept"})
    journal.close()
    assert [entry.get("reply") for entry in kept(path)["b"]] == [None, "kept"]


def test_a_write_that_fails_is_an_error_and_is_not_kept(path, monkeypatch):
    journal = Journal(path)

    def fail(*_):
        raise OSError(errno.EIO, "broken disk")

    monkeypatch.setattr("pipelines.journal.os.write", fail)
    with pytest.raises(OSError, match="broken disk"):
        journal.append("a", {})
    assert journal.replies("a") == []


def test_a_reply_is_in_the_file_before_append_returns(path):
    journal = Journal(path)
    journal.append("a", {"n": 1})
    assert json.loads(path.read_bytes()) == {"answer_id": "a", "n": 1}
    journal.close()


def test_closing_again_is_harmless(path):
    journal = Journal(path)
    journal.append("a", {})
    journal.close()
    journal.close()
    path.unlink()
    assert kept(path) == expected(0)
