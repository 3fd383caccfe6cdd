"""The points of a sweep: values of scenario keys, as a grid, a list or a sample."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from scipy.stats import qmc

from sim.inputs.problems import BadInput, Problems, quoted
from sim.inputs.scenario import Scenario, put
from sim.inputs.strategies import STRATEGIES

STRATEGY = "strategy"
# Parts of a scenario of which the workload, its images and who serves whom know nothing.
_REFUSED = ("images", "name", "strategies")
_FILES = ("workload.trace", "workload.initial", "images.")
_ANSWERS = ("backends", "boot_timeout_s", "cinder", "glance", "store", "tiers", "what_if")
MOST_VALUES = 100_000
_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)(?::(\d+))?")


@dataclass(frozen=True)
class Point:
    """One combination: the `values` by key, as the user wrote the key, and the strategy."""

    values: tuple[tuple[str, Any], ...]
    strategy: str


def parse(varied: Iterable[str]) -> dict[str, list[Any]]:
    """Parse each `KEY=VALUES`. Values are `a,b,c`, or whole numbers `0..100:5` (from, to, step).

    Raises BadInput with everything that it cannot parse.
    """
    problems = Problems()
    found: dict[str, list[Any]] = {}
    for text in varied:
        key, equals, values = text.partition("=")
        if not key or not equals or not values:
            problems.add("--vary", quoted(text), "is not written KEY=VALUE,VALUE,...")
        elif key in found:
            problems.add("--vary", key, "is given twice")
        else:
            found[key] = _values(key, values, problems)
    problems.raise_any()
    return found


def _values(key: str, text: str, problems: Problems) -> list[Any]:
    values: list[Any] = []
    for part in text.split(","):
        if span := _RANGE.fullmatch(part):
            first, last, step = int(span[1]), int(span[2]), int(span[3] or 1)
            if step < 1 or last < first:
                problems.add("--vary", key, f"{quoted(part)} is an empty range")
                continue
            if (last - first) // step >= MOST_VALUES:
                problems.add("--vary", key, f"{quoted(part)} has more than {MOST_VALUES:,} values")
                continue
            values += range(first, last + 1, step)
        else:
            try:
                values.append(yaml.safe_load(part))
            except yaml.YAMLError:
                problems.add("--vary", key, f"{quoted(part)} is no value")
    return list({repr(value): value for value in values}.values())  # 1 is not true


def grid(values: Mapping[str, Sequence[Any]], strategies: Sequence[str]) -> list[Point]:
    """Every combination under each strategy; the last key changes fastest. The key `strategy` may name
    strategies."""
    values = dict(values)
    names = list(map(str, values.pop(STRATEGY, strategies)))
    return [
        Point(tuple(zip(values, combination, strict=True)), strategy)
        for strategy in names
        for combination in itertools.product(*values.values())
    ]


def sample(
    values: Mapping[str, Sequence[Any]], strategies: Sequence[str], count: int, latin: bool, seed: int
) -> list[Point]:
    """Draw `count` combinations, each under every strategy. `latin`: as a Latin hypercube, else
    independently."""
    values = dict(values)
    names = list(map(str, values.pop(STRATEGY, strategies)))
    rng = np.random.default_rng(seed)
    shape = (count, len(values))
    drawn = qmc.LatinHypercube(len(values), rng=rng).random(count) if latin else rng.random(shape)
    combinations = [
        tuple((key, of[int(share * len(of))]) for (key, of), share in zip(values.items(), row, strict=True))
        for row in drawn.tolist()
    ]
    return [Point(one, strategy) for strategy in names for one in dict.fromkeys(combinations)]


def listed(path: Path, strategies: Sequence[str]) -> list[Point]:
    """The rows of a CSV whose columns are keys (`strategy` may be one). Raises BadInput."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise BadInput([f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}"]) from None
    if table.empty:
        raise BadInput([f"{path}: has no rows"])
    points = []
    for number, row in enumerate(table.to_dict("records"), 2):
        try:
            values = {str(key): yaml.safe_load(cell) for key, cell in row.items()}
        except yaml.YAMLError:
            raise BadInput([f"{path}: line {number}: a cell is no value"]) from None
        names = [values.pop(STRATEGY)] if STRATEGY in values else strategies
        points += [Point(tuple(values.items()), str(name)) for name in names]
    return list({repr(point): point for point in points}.values())


def check(scenario: Scenario, points: Sequence[Point]) -> None:
    """Raises BadInput with every key, value and strategy that the scenario cannot take."""
    problems = Problems()
    for name in dict.fromkeys(point.strategy for point in points):
        if name not in STRATEGIES:
            problems.add("--vary", STRATEGY, f"there is no {quoted(name)}, only {', '.join(STRATEGIES)}")
    raw = scenario.model_dump(by_alias=True)
    pairs = {repr(pair): pair for point in points for pair in point.values}
    refused = set()
    for key in dict.fromkeys(key for key, _ in pairs.values()):
        if key in _REFUSED or key.startswith(_FILES):
            problems.add("--vary", key, "cannot be varied: it names files, or says nothing of a run")
        elif not paths_of(key, raw):
            problems.add("--vary", key, "is no key of the scenario", f"{key} is no key")
        else:
            continue
        refused.add(key)
    for key, value in pairs.values():
        try:
            if key not in refused:
                apply(scenario, {key: value}, raw)
        except ValueError as error:
            problems.add("--vary", key, f"{quoted(value)}: {_reason(error)}")
    problems.raise_any()


def _reason(error: ValueError) -> str:
    errors = getattr(error, "errors", None)
    return str(errors()[0]["msg"]).removeprefix("Value error, ") if errors else str(error)


def apply(scenario: Scenario, values: Mapping[str, Any], raw: Mapping[str, Any] | None = None) -> Scenario:
    """The scenario, whose dump by alias `raw` is if it is known, with other values.

    Raises ValueError for a wrong value.
    """
    raw = scenario.model_dump(by_alias=True) if raw is None else raw
    paths = {path: value for key, value in values.items() for path in paths_of(key, raw)}
    return scenario.model_validate(put(raw, paths)) if paths else scenario


def reloads(key: str) -> bool:
    """Whether a key changes the workload or which backends serve it, and not only how they answer."""
    serving = (".volume_type", "availability_zone")
    return key.partition(".")[0] not in _ANSWERS or key.endswith(serving) or key == "what_if.prefetch"


def paths_of(key: str, raw: Any) -> list[tuple[str, ...]]:
    """The keys that a dotted key means: `*` stands for every name, `flash-*` for those that begin so.

    Names may have dots themselves.
    """
    if not isinstance(raw, dict):
        return []
    found: list[tuple[str, ...]] = []
    parts = key.split(".")
    for name, value in raw.items():
        own = name.split(".")
        length = len(own) if parts[: len(own)] == own else int(fnmatchcase(name, parts[0]))
        if length:
            rest = ".".join(parts[length:])
            found += [(name, *path) for path in paths_of(rest, value)] if rest else [(name,)]
    return found
