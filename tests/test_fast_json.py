"""Reading and writing JSON through orjson gives what json would, whatever orjson thinks of it."""

import json

import pytest

from pipelines import fast_json


@pytest.mark.parametrize("text", ['"\\ud800"', "[NaN, Infinity]", '{"a": 1, "a": 2}', "1e5"])
def test_json_that_orjson_refuses_is_read_all_the_same(text):
    plain, fast = json.loads(text), fast_json.load_json(text.encode())
    assert repr(fast) == repr(plain)


@pytest.mark.parametrize("value", ["\ud800", 1 << 70, {"a": [1, 2.5, "é", None]}])
def test_json_is_written_whatever_orjson_thinks_of_it(value, monkeypatch):
    for _ in range(2):
        data = fast_json.dump_json(value)
        assert b"\n" not in data
        assert json.loads(data) == fast_json.load_json(data) == value
        monkeypatch.setattr(fast_json, "orjson", None)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b'{"a":}'])
def test_what_is_no_json_is_a_value_error(data, monkeypatch):
    for _ in range(2):
        with pytest.raises(ValueError):  # noqa: PT011 - whatever the parser says
            fast_json.load_json(data)
        monkeypatch.setattr(fast_json, "orjson", None)
