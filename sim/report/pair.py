"""Two sides of a report: which of their rows belong together, and what differs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from sim.analysis.apart import FAILED, Value, Values, alike, paired, unpaired
from sim.inputs.kept import keys_of
from sim.inputs.limits import ENABLED, MAX_COUNT, MAX_SIZE
from sim.report.numbers import text
from sim.report.side import EVERY, MADE, NEW, SEEN, Place, Side, Told

# The measures that a report puts first: what each is called, its unit, and whether more of it is better.
MEASURES = {
    "clone_hit_rate": ("clone hits", "", True),
    MADE: ("clones among those that succeed", "", True),
    "create_s_mean": ("create seconds, mean", " s", False),
    "create_s_p95": ("create seconds, p95", " s", False),
    FAILED: ("failed creates", "", False),
    "waited_h_month": ("hours waited a month", " h", False),
    "image_provisioned_gib_mean": ("GiB of image-volumes, mean", " GiB", False),
    "price_month": ("price a month", "", False),
}
LIMITS = (ENABLED, MAX_SIZE, MAX_COUNT)  # told as lines of cinder.conf
FILES = ("workload.trace", "workload.initial")  # told by what is in them


@dataclass(frozen=True)
class Difference:
    """A figure of both sides. `less`: B's less A's, with its interval where there is one."""

    rows: str
    place: Place
    measure: str
    a: Value
    b: Value
    less: Value

    @property
    def differs(self) -> bool:
        """Whether it differs by more than chance, or as it is read where it has no interval."""
        return self.less.sure if self.less.bounded else self.told[0] != self.told[1]

    @property
    def told(self) -> tuple[str, str]:
        """Both figures as texts."""
        unit = MEASURES[self.measure][1]
        return text(self.a.mean, self.measure) + unit, text(self.b.mean, self.measure) + unit

    @property
    def size(self) -> float:
        """How much it is, from 0 to 1: points of a share, else the part of the larger figure."""
        if "hit_rate" in self.measure:
            return abs(self.less.mean)
        largest = max(abs(self.a.mean), abs(self.b.mean))
        return abs(self.less.mean) / largest if largest else 0.0

    @property
    def change(self) -> str:
        """Whether B is better or worse; '' if nothing differs."""
        if not self.differs:
            return ""
        return "better" if (self.less.mean > 0) == MEASURES[self.measure][2] else "worse"


@dataclass(frozen=True)
class Pair:
    """Rows that stand beside each other. `paired`: whether they ran the same creates."""

    a: Told
    b: Told
    paired: bool
    differences: list[Difference]

    @property
    def name(self) -> str:
        """The name of both, or both names."""
        return _names(self.a, self.b)


@dataclass(frozen=True)
class Setting:
    """A setting that differs: `key`, and its value in each; None where it is not told."""

    rows: str
    key: str
    a: str
    b: str


@dataclass(frozen=True)
class Report:
    """All that two sides have together.

    `settings` differ; `only`: what one side alone has, in words; `unknown`: what cannot be told, in words.
    """

    a: Side
    b: Side
    pairs: list[Pair]
    settings: list[Setting]
    only: list[str]
    unknown: list[str]

    @property
    def differences(self) -> list[Difference]:
        """What differs, most first."""
        found = [each for pair in self.pairs for each in pair.differences if each.differs]
        return sorted(found, key=lambda each: -each.size)

    @property
    def same(self) -> list[Difference]:
        """What does not differ."""
        return [each for pair in self.pairs for each in pair.differences if not each.differs]

    @property
    def first(self) -> Pair | None:
        """The pair that matters most: what is promised or was observed, else where most differs."""
        if not self.pairs:
            return None
        roles = {NEW, SEEN}
        for pair in self.pairs:
            if {pair.a.role, pair.b.role} <= roles:
                return pair
        most = [
            max((each.size for each in pair.differences if each.differs and each.place == EVERY), default=0.0)
            for pair in self.pairs
        ]
        return self.pairs[most.index(max(most))]


def report_of(a: Side, b: Side) -> Report:
    """Put two sides beside each other."""
    together = rows_together(a, b)
    pairs = [_pair(one, other) for one, other in together]
    unknown = [
        f"{letter} ({side.kind}) does not keep its settings: an earlier version wrote it, or it has none."
        for letter, side in (("A", a), ("B", b))
        if all(row.settings is None and row.options is None for row in side.rows)
    ]
    return Report(a, b, pairs, _settings(a, b, pairs), _only(a, b, pairs), unknown)


def rows_together(a: Side, b: Side) -> list[tuple[Told, Told]]:
    """The rows that belong together: by name, by role, by strategy, or because nothing else is left."""
    left, right = (_shown(side, other) for side, other in ((a, b), (b, a)))
    found: list[tuple[Told, Told]] = []
    ways: list[Callable[[Told], str]] = [
        lambda row: row.name,
        lambda row: NEW if row.role == SEEN else row.role,
        lambda row: row.strategy,
    ]
    for way in ways:
        for row in left:
            taken = [each for pair in found for each in pair]
            if row in taken:
                continue
            fits = [each for each in right if way(each) and way(each) == way(row)]
            free = [each for each in fits if each not in taken]
            # A plan and today may have the strategy of one row of a comparison.
            if free or (fits and way is ways[-1]):
                found.append((row, (free or fits)[0]))
    taken = [each for pair in found for each in pair]
    for row in right:
        fits = [each for each in left if each.strategy and each.strategy == row.strategy]
        if row not in taken and fits:
            found.append((fits[0], row))
    if not found and SEEN in {row.role for row in (*left, *right)}:
        return [(one, other) for one in left for other in right]
    alone = [[row for row in rows if all(row not in pair for pair in found)] for rows in (left, right)]
    if not found and len(alone[0]) == len(alone[1]) == 1:
        found.append((alone[0][0], alone[1][0]))
    return found


def _shown(side: Side, other: Side) -> list[Told]:
    """The rows of a side; a verdict repeats a promise, which only another verdict has beside it."""
    if side.kind == "verdict" != other.kind:
        return [row for row in side.rows if row.role == SEEN]
    return side.rows


def _pair(a: Told, b: Told) -> Pair:
    together = a.history is not None and b.history is not None and alike(a.history, b.history)
    less: Values = {}
    if together and a.history is not None and b.history is not None:
        less = paired(a.history, b.history)
    rows, found = _names(a, b), []
    for place in _places(a, b):
        left, right = a.figures[place], b.figures[place]
        for measure in MEASURES:
            if measure not in left or measure not in right:
                continue
            if measure == MADE and "clone_hit_rate" in left and "clone_hit_rate" in right:
                continue
            one, other = left[measure], right[measure]
            known = less.get(place[1], {}) if place[0] == "tier" else {}
            found.append(
                Difference(rows, place, measure, one, other, known.get(measure) or unpaired(one, other))
            )
    return Pair(a, b, together, found)


def _names(a: Told, b: Told) -> str:
    return a.name if a.name == b.name else f"{a.name} | {b.name}"


def _places(a: Told, b: Told) -> list[Place]:
    """The places that both have; of one tier, only that of all."""
    shared = [place for place in a.figures if place in b.figures]
    tiers = [place for place in shared if place[0] == "tier" and place != EVERY]
    alone = [sum(place[0] == "tier" for place in of.figures) == 2 for of in (a, b)]
    if all(alone):
        shared = [place for place in shared if place not in tiers]
    return sorted(shared, key=lambda place: (place[0] != "tier", place != EVERY))


# -- settings ------------------------------------------------------------------------------------------


def _settings(a: Side, b: Side, pairs: Iterable[Pair]) -> list[Setting]:
    """What differs in how both were made, in the scenario and in lines of cinder.conf."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for pair in pairs:
        for key, one, other in (*_keys(pair), *_lines(pair)):
            found.setdefault((key, one, other), []).append(pair.name)
    every = len(list(pairs))
    made = [
        Setting("", name, a.made[name], b.made[name])
        for name in a.made
        if name in b.made and a.made[name] != b.made[name] and name != "SHA-256 of scenario"
    ]
    return [*made, *(_setting(names, every, *of) for of, names in found.items())]


def _setting(names: list[str], every: int, key: str, a: str, b: str) -> Setting:
    return Setting("" if len(names) == every else ", ".join(names), key, a, b)


def _keys(pair: Pair) -> list[tuple[str, str, str]]:
    if pair.a.settings is None or pair.b.settings is None:
        return []
    one, other = folded(keys_of(pair.a.settings), keys_of(pair.b.settings))
    return [
        (key, _text(one, key), _text(other, key))
        for key in dict.fromkeys((*one, *other))
        if key.rpartition(".")[2] not in LIMITS and key not in FILES and _text(one, key) != _text(other, key)
    ]


def folded(*sides: dict[str, object]) -> list[dict[str, object]]:
    """The keys of both. A part that one of them lacks, such as `workload.generate`, is one key."""
    for key in [key for of in sides for key, value in of.items() if value is None]:
        for of in sides:
            if parts := [each for each in of if each.startswith(f"{key}.")]:
                for each in parts:
                    del of[each]
                of[key] = f"{len(parts):,} keys"
    return list(sides)


def _text(of: Mapping[str, object], key: str) -> str:
    if key not in of:
        return "not there"
    value = of[key]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _lines(pair: Pair) -> list[tuple[str, str, str]]:
    one, other = pair.a.options, pair.b.options
    if one is None or other is None:
        return []
    told = [(key, one.get(key, "not there"), other.get(key, "not there")) for key in {**one, **other}]
    return [(f"[{section}] {option}", old, new) for (section, option), old, new in told if old != new]


# -- what only one has ---------------------------------------------------------------------------------


def _only(a: Side, b: Side, pairs: list[Pair]) -> list[str]:
    lines = []
    taken = [row for pair in pairs for row in (pair.a, pair.b)]
    for letter, side, other in (("A", a, b), ("B", b, a)):
        alone = [row.name for row in _shown(side, other) if row not in taken]
        there = _every_place(other)
        kinds = {kind for kind, _ in there}
        for kind, name in _every_place(side):
            if kind in kinds and (kind, name) not in there:
                alone.append(f"{kind} {name}")
        if alone:
            lines.append(f"Only {letter} has: {', '.join(alone)}.")
    return lines


def _every_place(side: Side) -> list[Place]:
    return list(dict.fromkeys(place for row in side.rows for place in row.figures))


# -- in words ------------------------------------------------------------------------------------------


def place_text(place: Place) -> str:
    """A place in words."""
    return "all tiers" if place == EVERY else f"{place[0]} {place[1]}"


def what(of: Difference) -> str:
    """What a difference is of, in words."""
    return f"{of.rows}, {place_text(of.place)}: {MEASURES[of.measure][0]}"


def less_text(of: Difference) -> str:
    """B less A, and its interval."""
    share, unit = "hit_rate" in of.measure, MEASURES[of.measure][1]
    scale, unit = (100, " points") if share else (1, unit)
    told = f"{signed(scale * of.less.mean)}{unit}"
    if not of.less.bounded:
        return told
    return f"{told} ({signed(scale * of.less.low)} to {signed(scale * of.less.high)})"


def signed(value: float) -> str:
    """A difference with its sign, three digits."""
    if value == 0 or math.isnan(value):
        return "0"
    size = abs(value)
    digits = 0 if size >= 99.95 else 1 if size >= 9.995 else 2
    return f"{value:+,.{digits}f}"


COLUMNS = ("rows", "where", "measure", "a", "b", "difference", "low", "high", "differs")


def table_of(differences: Iterable[Difference]) -> pd.DataFrame:
    """Differences as numbers: a row each, with the columns COLUMNS."""
    return pd.DataFrame(
        [
            {
                "rows": each.rows,
                "where": place_text(each.place),
                "measure": each.measure,
                "a": each.a.mean,
                "b": each.b.mean,
                "difference": each.less.mean,
                "low": each.less.low,
                "high": each.less.high,
                "differs": each.differs,
            }
            for each in differences
        ],
        columns=COLUMNS,
    ).astype({"differs": bool})
