"""The points of a sweep: values of scenario keys, as a grid, a list or a sample."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
from pydantic import TypeAdapter

from sim.inputs.backend import Backend
from sim.inputs.limits import OF_CACHE
from sim.inputs.problems import BadInput, Problems, quoted
from sim.inputs.scenario import Scenario, put
from sim.inputs.strategies import STRATEGIES
from sim.inputs.textfile import csv_records
from sim.inputs.yamlfile import value_of

STRATEGY = "strategy"
# Parts of a scenario of which the workload, its images and who serves whom know nothing.
_REFUSED = ("images", "name", "strategies")
_FILES = ("workload.trace", "workload.initial", "images.")
_ANSWERS = ("backends", "boot_timeout_s", "cinder", "glance", "nodes", "store", "tiers", "what_if")
MOST_VALUES = 100_000  # of a range
MOST_POINTS = 1_000_000
VARY = "--vary"
_RANGE = re.compile(r"(-?[0-9]{1,15})\.\.(-?[0-9]{1,15})(?::([0-9]{1,15}))?")
_TYPES = get_type_hints(Backend, include_extras=True)
_OF_CACHE = {key: TypeAdapter[Any](_TYPES[key]) for key in OF_CACHE}  # each reads values of that option


@dataclass(frozen=True)
class Point:
    """One combination: the `values` by key, as the user wrote the key, and the strategy."""

    values: tuple[tuple[str, Any], ...]
    strategy: str


def parse(varied: Iterable[str]) -> dict[str, list[Any]]:
    """Parse each `KEY=VALUES`. Values are `a,b,c`, each as in a scenario, or whole numbers `0..100:5` (from,
    to, step).

    Raises BadInput with everything that it cannot parse.
    """
    problems = Problems()
    found: dict[str, list[Any]] = {}
    for text in varied:
        key, equals, values = text.partition("=")
        if not key or not equals or not values:
            problems.add(VARY, quoted(text), "is not written KEY=VALUE,VALUE,...")
        elif key in found:
            problems.add(VARY, key, "is given twice")
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
                problems.add(VARY, key, f"{quoted(part)} is an empty range")
                continue
            if (last - first) // step >= MOST_VALUES:
                problems.add(VARY, key, f"{quoted(part)} has more than {MOST_VALUES:,} values")
                continue
            values += range(first, last + 1, step)
        else:
            try:
                values.append(_value(key, part))
            except ValueError as error:
                problems.add(VARY, key, f"{quoted(part)} {error}")
    return list({repr(value): value for value in values}.values())  # 1 is not true


def _value(key: str, text: str) -> Any:
    """The value of a key; a strategy is a name, whatever else it may look like. Raises ValueError."""
    return text if key == STRATEGY else value_of(text)


def grid(values: Mapping[str, Sequence[Any]], strategies: Sequence[str]) -> list[Point]:
    """Every combination under each strategy; the last key changes fastest. The key `strategy` may name
    strategies. Raises BadInput if they are too many."""
    values = dict(values)
    names = list(map(str, values.pop(STRATEGY, strategies)))
    refuse_many(len(names) * math.prod(map(len, values.values())), f"{VARY}: {{}} combinations")
    return [
        Point(tuple(zip(values, combination, strict=True)), strategy)
        for strategy in names
        for combination in itertools.product(*values.values())
    ]


def sample(
    values: Mapping[str, Sequence[Any]], strategies: Sequence[str], count: int, latin: bool, seed: int
) -> list[Point]:
    """Draw `count` combinations, each under every strategy. `latin`: as a Latin hypercube, else
    independently. Raises BadInput if they are too many."""
    values = dict(values)
    names = list(map(str, values.pop(STRATEGY, strategies)))
    refuse_many(len(names) * count, "--sample: {} combinations")
    rng = np.random.default_rng(seed)
    shape = (count, len(values))
    if latin:
        from scipy.stats import qmc  # slow to import, and each process of a sweep would

        drawn = qmc.LatinHypercube(len(values), rng=rng).random(count)
    else:
        drawn = rng.random(shape)
    combinations = [
        tuple((key, of[int(share * len(of))]) for (key, of), share in zip(values.items(), row, strict=True))
        for row in drawn.tolist()
    ]
    different = {repr(one): one for one in combinations}.values()
    return [Point(one, strategy) for strategy in names for one in different]


def refuse_many(count: int, what: str) -> None:
    """Raises BadInput for more cells than anybody waits for; `what` has a place for their number."""
    if count > MOST_POINTS:
        raise BadInput([f"{what.format(f'{count:,}')} are too many: at most {MOST_POINTS:,}"])


def listed(path: Path, strategies: Sequence[str]) -> list[Point]:
    """The rows of a CSV whose columns are keys (`strategy` may be one). Raises BadInput with all problems."""
    problems = Problems()
    points = []
    for line, row in csv_records(path, problems):
        values = {}
        for key, cell in row.items():
            try:
                values[key] = _value(key, cell)
            except ValueError as error:
                problems.add(path, f"{line}: {key}", f"{quoted(cell)} {error}", "is not YAML")
        names = [values.pop(STRATEGY, "")] if STRATEGY in row else strategies
        points += [Point(tuple(values.items()), str(name)) for name in names]
    if not points and not problems:
        problems.add(path, "", "has no rows")
    problems.raise_any()
    return list({repr(point): point for point in points}.values())


def check(scenario: Scenario, points: Sequence[Point], source: str | Path = VARY) -> None:
    """Raises BadInput with every key, value and strategy of `source` that the scenario cannot take."""
    problems = Problems()
    for name in dict.fromkeys(point.strategy for point in points):
        if name not in STRATEGIES:
            problems.add(source, STRATEGY, f"there is no {quoted(name)}, only {', '.join(STRATEGIES)}")
    varied = Varied(scenario)
    pairs = {repr(pair): pair for point in points for pair in point.values}
    refused = set()
    for key in dict.fromkeys(key for key, _ in pairs.values()):
        if key in _REFUSED or key.startswith(_FILES):
            problems.add(source, key, "cannot be varied: it names files, or says nothing of a run")
        elif not varied.paths([(key, None)]):
            problems.add(source, key, "is no key of the scenario", f"{key} is no key")
        else:
            continue
        refused.add(key)
    for key, value in pairs.values():
        try:
            if key not in refused:
                varied.with_values([(key, value)])
        except ValueError as error:
            reason = _reason(error)
            problems.add(source, key, f"{quoted(value)}: {reason}", f"{key}: {reason}")
    problems.raise_any()


def _reason(error: ValueError) -> str:
    errors = getattr(error, "errors", None)
    return str(errors()[0]["msg"]).removeprefix("Value error, ") if errors else str(error)


class Varied:
    """A scenario that gets other values often; what a key means in it is looked up once.

    `raw`: its dump by alias. Most often the limits of caches change alone: only these are read then, and the
    rest stays the same objects.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.scenario, self.raw = scenario, scenario.model_dump(by_alias=True)
        self._paths = cache(lambda key: paths_of(key, self.raw))
        self._of_caches = {("backends", name, key) for name in scenario.backends for key in OF_CACHE}
        self._apart = "{}", scenario  # the last values apart from limits, and the scenario with them

    def paths(self, values: Iterable[tuple[str, Any]]) -> dict[tuple[str, ...], Any]:
        """The values by path; of two for one path, the last."""
        return {path: value for key, value in values for path in self._paths(key)}

    def with_values(self, values: Iterable[tuple[str, Any]]) -> Scenario:
        """The scenario with other values. Raises ValueError for a wrong value."""
        paths = self.paths(values)
        whole = any(len(path) < 3 and path[0] == "backends" for path in paths)
        limits = {} if whole else {path: paths.pop(path) for path in self._of_caches.intersection(paths)}
        told = repr(paths)
        if told != self._apart[0]:
            self._apart = told, self.scenario.model_validate(put(self.raw, paths))
        scenario = self._apart[1]
        if not limits:
            return scenario
        own: dict[str, dict[str, Any]] = {}
        for (_, name, key), value in limits.items():
            own.setdefault(name, {})[key] = _OF_CACHE[key].validate_python(value, strict=True)
        changed = {name: scenario.backends[name].model_copy(update=of) for name, of in own.items()}
        return scenario.model_copy(update={"backends": {**scenario.backends, **changed}})


def apply(scenario: Scenario, values: Mapping[str, Any]) -> Scenario:
    """The scenario with other values. Raises ValueError for a wrong value."""
    return Varied(scenario).with_values(values.items())


@cache
def reloads(key: str) -> bool:
    """Whether a key changes the workload or which backends serve it, and not only how they answer."""
    serving = (".volume_type", "availability_zone")
    changing = key in ("what_if.prefetch", "glance.convert_on_import")
    return key.partition(".")[0] not in _ANSWERS or key.endswith(serving) or changing


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
