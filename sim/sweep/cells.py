"""Cells of a sweep, and the runs that hold for several of them.

All that a run asks of the limits of a cache is whether they are below something (`sim.fast.cache.over`). So
engine `fast` notes between which bounds each limit may lie without another answer. With limits in there, the
run is the same, step by step, and so is all that is measured. No measure needs to be monotone for this: where
one limit lies outside, the cell runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.fast.cache import UNLIMITED
from sim.fast.state import State
from sim.inputs.cinders import Cinder
from sim.inputs.limits import MAX_COUNT, MAX_SIZE
from sim.inputs.scenario import Scenario
from sim.sweep.results import Result
from sim.sweep.varying import Point, Varied

LIMITS = (MAX_SIZE, MAX_COUNT)
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Counted:
    """What counts: creates from `warm_up_s` on. A create is slow above the seconds of its tier.

    `in_blocks`: by block of time. Of several replications, each counts as a whole.
    """

    warm_up_s: float
    slow_s: tuple[tuple[str, float], ...]
    in_blocks: bool = True


@dataclass(frozen=True)
class Cell:
    """One run: a point, the replication of its workload, and a hash of everything that decides the result.

    `base` is the part of the hash that all cells of a sweep share. With it, a worker notices changed files.
    """

    point: Point
    replication: int
    counted: Counted
    base: str
    digest: str
    cinder: Cinder | None = None  # None: engine `fast`
    identity: Sequence[str] = ()  # of the Cinder, when the sweep began


class Alike:
    """Cells that differ in the limits of their caches alone, until each of them has a result.

    `limits` (cells, backends * 2): size and count, by backend.
    """

    def __init__(self, cells: Sequence[Cell], limits: Ints) -> None:
        self._cells, self._limits = cells, limits
        self._waits = np.ones(len(cells), np.bool_)

    def take(self, count: int) -> list[Cell]:
        """Up to `count` cells, to be run."""
        return self._taken(np.flatnonzero(self._waits)[:count])

    def held(self, result: Result) -> Iterator[Result]:
        """The results of the cells that need no run, because the run of `result` holds for them."""
        if not result.holds:
            return
        first, below = np.array(result.holds).T
        within = ((first <= self._limits) & (self._limits < below)).all(axis=1)
        for cell in self._taken(np.flatnonzero(self._waits & within)):
            yield replace(
                result, digest=cell.digest, values=dict(cell.point.values), engine_s=0.0, cell_s=0.0
            )

    def _taken(self, numbers: npt.NDArray[np.intp]) -> list[Cell]:
        self._waits[numbers] = False
        return [self._cells[number] for number in numbers]


class Known:
    """Results by what their cells have in common beside limits: what later cells may not need to run for."""

    def __init__(self, scenario: Scenario) -> None:
        self._varied = Varied(scenario)
        backends = self._varied.raw["backends"]
        self._limits = {("backends", name, key): backends[name][key] for name in backends for key in LIMITS}
        self._results: dict[Any, list[Result]] = {}

    def add(self, cell: Cell, result: Result) -> None:
        """Remember a result that may hold for other cells, too."""
        if result.holds:
            self._results.setdefault(self._split(cell)[0], []).append(result)

    def alike(self, cells: Iterable[Cell]) -> list[tuple[Alike, list[Result]]]:
        """The cells in groups, each with the results that may hold for cells of it."""
        groups: dict[Any, list[tuple[Cell, list[int]]]] = {}
        for cell in cells:
            common, limits = self._split(cell)
            groups.setdefault(common, []).append((cell, limits))
        return [
            (
                Alike([cell for cell, _ in of], np.array([limits for _, limits in of])),
                self._results.get(common, []),
            )
            for common, of in groups.items()
        ]

    def _split(self, cell: Cell) -> tuple[Any, list[int]]:
        """What decides a cell's result beside limits, and these."""
        values = self._varied.paths(cell.point.values)
        limits = {path: values.pop(path, of) for path, of in self._limits.items()}
        whole = any(len(path) < 3 and path[0] == "backends" for path in values)
        if cell.cinder is not None or whole or any(type(of) is not int for of in limits.values()):
            return cell.digest, [0] * len(limits)  # nothing is known of its limits: it has no others like it
        told = repr(sorted(values.items())), cell.point.strategy, cell.replication, cell.counted, cell.base
        return told, [of or UNLIMITED for of in limits.values()]


def holds(s: State) -> list[list[int]]:
    """`Result.holds` of a run's state: by backend, of size and of count, the least and what is below."""
    b = s.backends
    of_size = zip(b["size_from"].tolist(), b["size_below"].tolist(), strict=True)
    of_count = zip(b["count_from"].tolist(), b["count_below"].tolist(), strict=True)
    return [list(bounds) for both in zip(of_size, of_count, strict=True) for bounds in both]
