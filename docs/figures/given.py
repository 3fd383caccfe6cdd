"""Numbers in pages that are no results: docs/figures/given.csv lists the words around each, and its kind.

A number in the prose of a page must be a figure with a comment (see pages.py), be in a table that a command
makes, or be listed. A heading in the list stands for its section. `kind` says why it may be typed by hand:

- `example`: a value that the reader or an example gives, such as a limit or a size.
- `rule`: a constant of this program, such as a default or a margin.
- `source`: a constant of Cinder or of another program, whose code the page names.
- `status`: an exit code, an HTTP status, or a value that stands for yes or no.
- `definition`: what a word of statistics means, or arithmetic that the page shows.
- `literature`: a volume or a section of what the page cites.
- `session`: a command whose output needs what the repository does not have, such as a running cloud.

Not looked at are code, links, numbers of headings and of lists, and names: a product with its release, a
year, and the 95 % of intervals.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from docs.figures import consoles, pages

LIST = Path(__file__).with_name("given.csv")
KINDS = ("example", "rule", "source", "status", "definition", "literature", "session")
NUMBER = re.compile(r"(?<![\w./-])\d[\d,]*(?:\.\d+)?(?!\w)")
PRODUCTS = "Cinder|Debian|Glance|HTTP|ISO|MariaDB|PostgreSQL|Python|YAML"
NOT_LOOKED_AT = (
    re.compile(r"^( *)```\w+$.*?^\1```$", re.M | re.S),
    re.compile(r"^<!-- (?:table|checked by) .*?^<!-- end -->$", re.M | re.S),
    pages.MARKER,
    re.compile(r"`[^`]*`|\]\([^)]*\)|<!--.*?-->"),
    re.compile(r"^ *\d+\. |^#+ [\d.]+ |^\*\*[\d.]+ ", re.M),
    re.compile(rf"\b(?:{PRODUCTS})\s+\d[\d.]*(?:(?:,| and| to| or|, and| →)\s+\d[\d.]*)*"),
    re.compile(r"\b(?:19|20)\d\d\b|\b95 %\s+intervals?"),
)


def listed() -> pd.DataFrame:
    """The list: page, kind, words."""
    return pd.read_csv(LIST)


def problems(name: str, text: str, known: pd.DataFrame) -> list[str]:
    """The numbers and sessions of a page that nothing makes and nothing lists, and what is listed for it in
    vain."""
    known = known[known["page"] == name]
    found = list(_found(text))
    spans = {words: list(_places(words, text)) for words in known["words"]}
    inside = {
        words: [at for at, _ in found if any(first <= at < end for first, end in places)]
        for words, places in spans.items()
    }
    given = {at for places in inside.values() for at in places}
    open_ones = [
        f"{name}:{text.count(chr(10), 0, at) + 1}: no file has {shown}, and given.csv does not list it"
        for at, shown in found
        if at not in given
    ]
    return open_ones + [f"{name}: listed in vain: {words}" for words, places in inside.items() if not places]


def _found(text: str) -> Iterator[tuple[int, str]]:
    looked_at = text
    for pattern in NOT_LOOKED_AT:
        looked_at = pattern.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), looked_at)
    for match in NUMBER.finditer(looked_at):
        yield match.start(), match[0].rstrip(",")
    yield from consoles.not_run(text)


def _places(words: str, text: str) -> Iterator[tuple[int, int]]:
    """Where words stand in a text, however its lines are broken; of a heading, all of its section."""
    pattern = r"\s+".join(map(re.escape, words.split()))
    if words.startswith("#"):
        pattern = rf"^{pattern}$.*?(?=^#|\Z)"
    yield from (match.span() for match in re.finditer(pattern, text, re.M | re.S))
