import json
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.jose.jose_keys import outcome, refused

from mintmark.jose import strict_json

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=6), children, max_size=4),
    max_leaves=12,
)


@pytest.mark.spec("J06", "RFC 7515 §4", "RFC 7519 §4")
@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":2}',
        '{"a":1,"a":1}',
        '{"a":1,"\\u0061":2}',
        '{"b":{"a":1,"a":2}}',
        '{"b":[{"a":1,"a":2}]}',
        '{"a":{"a":1,"a":2},"a":3}',
        ' { "a" : 1 , "a" : 2 } ',
        '{"a":"\\u003a","a":":"}',
        '{"a":":\\":","a":""}',
        '{"":1,"":2}',
    ],
)
def test_a_name_may_not_repeat_at_any_depth(text: str) -> None:
    with refused("malformed"):
        strict_json.loads_object(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"b":1}',
        '{"a":{"a":{"a":1}}}',
        '{"a":[{"a":1},{"a":1}]}',
        ' {"a" : "\\u0061:\\"a\\":" } \n',
        '{"a":"\\/","A":1.50,"é":"\\u00e9","\\ud83d\\ude00":"x"}',
        '{"a":"\\"a\\":1,\\"a\\":2"}',
        "{}",
    ],
)
def test_look_alikes_are_accepted(text: str) -> None:
    assert strict_json.loads_object(text.encode()) == json.loads(text)


@pytest.mark.spec("J06", "J09", "RFC 8259 §6", "RFC 8259 §8.1")
@pytest.mark.parametrize(
    "raw",
    [
        b"", b" ", b"1", b"null", b"true", b'"a"', b"[]", b"[{}]", b"{}{}", b"{},", b"{}x", b"{", b'{"a"}', b'{"a":1,}',
        b"{a:1}", b"{'a':1}", b'{"a":01}', b'{"a":+1}', b'{"a":.5}', b'{"a":1.}', b'{"a":0x1}', b"{1:1}", b"{null:1}",
        b'{"a":NaN}', b'{"a":Infinity}', b'{"a":-Infinity}', b'{"a":1e400}', b'{"a":-1e400}', b'{"a":' + b"9" * 9999 + b"}",
        b"\xef\xbb\xbf{}", '{"a":1}'.encode("utf-16"), b'{"a":"\xff"}', b'{"\xc0\xaf":1}', b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\\ud800"}', b'{"a":"\\udc00"}', b'{"a":"\n"}', b'{"a":"\x00"}', b'{"a":"\\x41"}', b'{"a":1}//', b'{"a":/**/1}',
    ],
)  # fmt: skip
def test_only_one_object_of_real_json(raw: bytes) -> None:
    with refused("malformed"):
        strict_json.loads_object(raw)
    assert strict_json.loads_object(b'{"a":1}') == {"a": 1}


@pytest.mark.spec("J06")
@pytest.mark.parametrize(("left", "right"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_depth_is_bounded_and_never_a_recursion_error(left: bytes, right: bytes) -> None:
    def nested(levels: int) -> bytes:
        return b'{"a":' + left * (levels - 1) + b"1" + right * (levels - 1) + b"}"

    assert strict_json.loads_object(nested(strict_json.MAX_DEPTH))
    for levels in (strict_json.MAX_DEPTH + 1, 500, sys.getrecursionlimit() - 20, 5_000, 200_000):
        for before in (b"", b" ", b"  "):
            with refused("malformed"):
                strict_json.loads_object(before + nested(levels))
    assert strict_json.loads_object(b'{"a":[' + b",".join([b"[]"] * 100) + b"]}")


@pytest.mark.spec("J06")
@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(max_size=6), VALUES, max_size=4), st.booleans(), st.sampled_from([None, 1]))
def test_every_spelling_of_an_object_is_read(value: dict[str, Any], ascii_only: bool, indent: int | None) -> None:
    assert strict_json.loads_object(strict_json.dumps(value)) == value
    assert strict_json.loads_object(json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()) == value


@pytest.mark.spec("J06")
@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", ":", "é", '"']), VALUES), max_size=4), st.booleans(), st.booleans()
)
def test_a_repeated_name_is_found_in_every_spelling(pairs: list[tuple[str, Any]], ascii_only: bool, deep: bool) -> None:
    members = [f"{json.dumps(n, ensure_ascii=ascii_only)}:{json.dumps(v, separators=(',', ':'))}" for n, v in pairs]
    raw = ("{" + ",".join(members) + "}").encode()
    raw = b'{"x":[' + raw + b"]}" if deep else raw
    repeated = len({name for name, _ in pairs}) < len(pairs)
    assert (outcome(strict_json.loads_object, raw) == "malformed") == repeated


@given(st.binary(max_size=60) | st.text('{}[]":,\\u0aé1e', max_size=30).map(str.encode))
def test_garbage_is_refused_or_read_as_the_standard_library_reads_it(raw: bytes) -> None:
    if outcome(strict_json.loads_object, raw) == "accepted":
        assert strict_json.loads_object(raw) == json.loads(raw)


def test_dumps_is_compact_and_refuses_what_json_cannot_say() -> None:
    assert strict_json.dumps({"a": [1, None, "é"]}) == '{"a":[1,null,"é"]}'.encode()
    for value in (float("nan"), float("inf"), [{"a": (-float("inf"),)}]):
        with pytest.raises(ValueError):
            strict_json.dumps({"a": value})
    with pytest.raises(ValueError):
        strict_json.dumps({"a": "\ud800"})
    with pytest.raises(TypeError):
        strict_json.dumps({"a": object()})
