"""Known differences between releases of Cinder, and which of them a case can meet.

A row of `sim/data/cinders/known.csv` says what holds in some releases (`24.0.0:26.3.0`, several with `;`),
where in Cinder, and when: the name of a function below.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from sim.inputs.cinders import INSTALLED, Cinder, numbers
from sim.inputs.scenario import Case
from sim.inputs.strategies import STRATEGIES, Strategy

MENDED = ("numbers_volumes",)  # what does not hold in the process of the simulator itself
TABLE = Path(__file__).parents[1] / "data" / "cinders" / "known.csv"


@dataclass(frozen=True)
class Known:
    """A row of the table; `releases` are the first and the last of each range."""

    releases: tuple[tuple[str, str], ...]
    when: str
    what: str
    file: str
    function: str

    def holds_in(self, release: str) -> bool:
        """Whether it holds in a release."""
        return any(numbers(first) <= numbers(release) <= numbers(last) for first, last in self.releases)


def table() -> list[Known]:
    """The rows of the table."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [Known(tuple(_ranges(row.pop("releases"))), **row) for row in rows]


def _ranges(text: str) -> Iterator[tuple[str, str]]:
    for part in text.split(";"):
        first, _, last = part.partition(":")
        yield first, last


def known_between(case: Case, strategy: str, first: Cinder, second: Cinder) -> list[str]:
    """A sentence for each known difference of two Cinders that a run of the case can meet."""
    found = []
    for one in table():
        holds = [
            each
            for each in (first, second)
            if one.holds_in(each.release or version("cinder"))
            and (each != INSTALLED or one.when not in MENDED)
        ]
        if len(holds) == 1 and WHEN[one.when](case, STRATEGIES[strategy]):
            found.append(f"Known of {holds[0].name}: {one.what} ({one.function} in {one.file})")
    return found


def _reschedules(case: Case, strategy: Strategy) -> bool:
    several = any(len(case.scenario.hosts_of(tier)) > 1 for tier in case.scenario.tiers)
    return several and case.schedules and case.scenario.cinder.scheduler_max_attempts > 1


def _limits_clones(case: Case, strategy: Strategy) -> bool:
    return strategy.image_volume_cache_enabled and any(
        backend.max_clones_per_volume is not None for backend in case.scenario.backends.values()
    )


def _stores_in_cluster(case: Case, strategy: Strategy) -> bool:
    return strategy.uses_store and any(
        backend.cluster and len(backend.node_names) > 1 for backend in case.scenario.backends.values()
    )


def _across_pools(case: Case) -> bool:
    return any(backend.clone_across_pools for backend in case.scenario.backends.values())


def _stores_across_pools(case: Case, strategy: Strategy) -> bool:
    return strategy.uses_store and _across_pools(case)


def _caches_across_pools(case: Case, strategy: Strategy) -> bool:
    return strategy.image_volume_cache_enabled and _across_pools(case)


def _numbers_volumes(case: Case, strategy: Strategy) -> bool:
    return case.schedules and "VolumeNumberWeigher" in case.scenario.cinder.scheduler_default_weighers


WHEN: dict[str, Callable[[Case, Strategy], bool]] = {
    "reschedules": _reschedules,
    "limits_clones": _limits_clones,
    "stores_in_cluster": _stores_in_cluster,
    "stores_across_pools": _stores_across_pools,
    "caches_across_pools": _caches_across_pools,
    "numbers_volumes": _numbers_volumes,
}
