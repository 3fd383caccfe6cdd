"""Damage to files: to bytes as they come, to words and lines of text, to the values of a tree."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import yaml
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

# Words that a reader of numbers, dates, names, YAML, CSV or URLs may take for something else.
TOKENS: tuple[bytes, ...] = tuple(
    word.encode("utf-8", "surrogatepass") if isinstance(word, str) else word
    for word in (
        *(
            "",
            " ",
            "\n",
            "\r",
            "\r\n",
            "\t",
            ",",
            ";",
            ":",
            "#",
            '"',
            "'",
            '""',
            "\\",
            "|",
            "/",
            "%",
            "=",
            "-",
        ),
        *("0", "-0", "-1", "+1", "1.", ".5", "1e3", "1e-3", "1e309", "-1e309", "1e-400", "0.1e-7", "1_000"),
        *("010", "0o17", "0x1F", "0b1", "1:30", "1,5", "2147483647", "2147483648", "9223372036854775807"),
        *("9223372036854775808", "18446744073709551616", "1" + "0" * 24, "9" * 400, "9" * 5000),
        *(
            "inf",
            "-inf",
            ".inf",
            "-.Inf",
            "nan",
            ".nan",
            "NaN",
            "null",
            "~",
            "None",
            "true",
            "False",
            "yes",
            "no",
        ),
        *("2024-02-30", "2024-13-45", "0000-00-00", "0001-01-01", "9999-12-31T23:59:60Z", "10000-01-01"),
        *("2024-01-01T00:00:00+99:99", "2024-01-01T00:00:00Z", "1677-09-21", "2262-04-12", "24:00:00", "P1D"),
        *(
            "30d",
            "0d",
            "1e9d",
            "999999999999d",
            "\u0660",
            "\u00b2",
            "\u2028",
            "\x00",
            "\x1b[31m",
            "\x7f",
            "\x85",
        ),
        *(
            "\ufeff",
            "\u202e",
            "\U0001f600",
            "\ud800",
            b"\xff",
            b"\xc3\x28",
            b"\xed\xa0\x80",
            b"\xf8\x88\x80\x80",
        ),
        *(
            "=HYPERLINK(1)",
            "@SUM(1)",
            "a" * 300,
            "x" * 140_000,
            "[" * 3000,
            "{" * 3000,
            "- " * 3000,
            "'" * 99,
        ),
        *(
            "&a",
            "*a",
            "<<: *a",
            "!!python/object:os.system",
            "!!binary",
            "? ",
            "---",
            "...",
            "%YAML 1.1",
            "@",
            "`",
        ),
        *("..", "/../../x", "/dev/null", "-", "a#b", "#", "a#", "#b", "a;b", "all", "*", "{}", "[]", "''"),
    )
)
_WORD = re.compile(rb"[^\s,:;=&?{}\[\]\"'#@/]+")

# What a tree has at a place after damage.
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 2**31 - 1, 2**31, 2**63, 10**24, -(2**70), 0.5, 1e-9, 1e18, 1e300),
    *(float("inf"), float("nan"), "", " ", "x", "a#b", "a;b", "all", "null", "1", "1e3", "2024-13-45"),
    *(
        "\x1b[31m",
        "\u202e",
        "a" * 300,
        "/dev/zero",
        "/",
        "..",
        "3650d",
        "1s",
        "0d",
        [],
        {},
        [[]],
        [None],
        {"": {}},
    ),
    *({"x": None}, {1: 2}, ["x", "x"], [0] * 24, [1e308] * 24, {"p0": {}}),
)

Change = Callable[[bytes, int, int, bytes], bytes]


def _at(data: bytes, place: int) -> int:
    return place % (len(data) + 1)


def _flip(data: bytes, one: int, two: int, token: bytes) -> bytes:
    if not data:
        return data
    at = one % len(data)
    return data[:at] + bytes([data[at] ^ (1 << two % 8)]) + data[at + 1 :]


def _insert(data: bytes, one: int, two: int, token: bytes) -> bytes:
    at = _at(data, one)
    return data[:at] + token + data[at:]


def _overwrite(data: bytes, one: int, two: int, token: bytes) -> bytes:
    at = _at(data, one)
    return data[:at] + token + data[at + len(token) :]


def _delete(data: bytes, one: int, two: int, token: bytes) -> bytes:
    first, last = sorted((_at(data, one), _at(data, two)))
    return data[:first] + data[last:]


def _repeat(data: bytes, one: int, two: int, token: bytes) -> bytes:
    first, last = sorted((_at(data, one), _at(data, two)))
    return data[:last] + data[first:last] * (1 + len(token) % 20) + data[last:]


def _truncate(data: bytes, one: int, two: int, token: bytes) -> bytes:
    return data[: _at(data, one)]


def _word(data: bytes, one: int, two: int, token: bytes) -> bytes:
    words = list(_WORD.finditer(data))
    if not words:
        return token
    word = words[one % len(words)]
    return data[: word.start()] + token + data[word.end() :]


def _swap_words(data: bytes, one: int, two: int, token: bytes) -> bytes:
    words = list(_WORD.finditer(data))
    if not words:
        return data
    first, last = sorted((words[one % len(words)], words[two % len(words)]), key=lambda word: word.start())
    if first is last:
        return data
    between = data[first.end() : last.start()]
    return data[: first.start()] + last[0] + between + first[0] + data[last.end() :]


def _lines(data: bytes, one: int, two: int, token: bytes) -> bytes:
    """Move a line, or leave it out."""
    lines = data.splitlines(keepends=True)
    if not lines:
        return data
    line = lines.pop(one % len(lines))
    if len(token) % 3:
        lines.insert(two % (len(lines) + 1), line)
    return b"".join(lines)


OF_BYTES: tuple[Change, ...] = (_flip, _insert, _overwrite, _delete, _repeat, _truncate)
OF_TEXT: tuple[Change, ...] = (_word, _word, _word, _swap_words, _lines, *OF_BYTES)


@st.composite
def damaged(
    draw: DrawFn,
    whole: SearchStrategy[bytes],
    changes: Sequence[Change] = OF_TEXT,
    tokens: Sequence[bytes] = TOKENS,
    most: int = 6,
) -> bytes:
    """Files of `whole` after up to `most` changes; sometimes the head of one with the tail of another."""
    place = st.integers(0, 2**24)
    data = draw(whole)
    if draw(st.integers(0, 9)) == 9:
        other = draw(whole)
        data = data[: _at(data, draw(place))] + other[_at(other, draw(place)) :]
    for change, one, two, token in draw(
        st.lists(st.tuples(st.sampled_from(changes), place, place, st.sampled_from(tokens)), max_size=most)
    ):
        data = change(data, one, two, token)
        if len(data) > 2**20:
            return data[: 2**20]
    return data


def texts(seeds: Sequence[bytes], tokens: Sequence[bytes] = ()) -> SearchStrategy[bytes]:
    """Damaged texts; `tokens` are words that mean something to their reader."""
    return damaged(st.sampled_from(list(seeds)), OF_TEXT, [*TOKENS, *tokens])


def binaries(seeds: Sequence[bytes]) -> SearchStrategy[bytes]:
    """Damaged files that are no text."""
    return damaged(st.sampled_from(list(seeds)), OF_BYTES)


@st.composite
def trees(draw: DrawFn, seeds: Sequence[Any], values: Sequence[Any] = VALUES, most: int = 4) -> Any:
    """Trees of mappings, lists and values with other values, keys or parts at some places."""
    tree = copy.deepcopy(draw(st.sampled_from(list(seeds))))
    for _ in range(draw(st.integers(1, most))):
        places = list(_places(tree))
        if not places:
            return tree
        holder, key = places[draw(st.integers(0, 2**16)) % len(places)]
        what = draw(st.sampled_from(["value", "value", "value", "drop", "rename", "move", "nest"]))
        if what == "value":
            holder[key] = copy.deepcopy(draw(st.sampled_from(list(values))))  # others mutate it
        elif what == "drop":
            del holder[key]
        elif what == "rename" and isinstance(holder, dict):
            holder[draw(st.sampled_from(["", "x", "a#b", "all", "\x1b[0m", "p" * 300, 1, None]))] = (
                holder.pop(key)
            )
        elif what == "move":
            other, there = places[draw(st.integers(0, 2**16)) % len(places)]
            holder[key] = copy.deepcopy(other[there])
        else:
            holder[key] = [holder[key]] if draw(st.booleans()) else {"x": holder[key]}
    return tree


def _places(tree: Any) -> Any:
    """Every holder of a value and its key or number, from the top down."""
    if isinstance(tree, dict | list):
        for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
            yield tree, key
            yield from _places(tree[key])


def yaml_of(tree: Any) -> bytes:
    """A tree as YAML."""
    dumper = yaml.CSafeDumper  # ten times as fast
    return yaml.dump(tree, Dumper=dumper, allow_unicode=True, sort_keys=False, width=1000, encoding="utf-8")


def json_of(tree: Any) -> bytes:
    """A tree as JSON; keys that JSON does not have become text."""
    return json.dumps(tree, default=str).encode()
