"""The rows of a comparison: strategies, today's settings, a cache on every backend where some lack one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from sim.inputs.limits import ENABLED
from sim.inputs.scenario import Case
from sim.inputs.strategies import STRATEGIES

TODAY, EVERYWHERE = "today", "cache-everywhere"


@dataclass(frozen=True)
class Row:
    """A row of a comparison: its name in tables and folders, its strategy, and its case."""

    name: str
    strategy: str
    case: Case


def rows_of(case: Case, strategies: Iterable[str] | None = None) -> list[Row]:
    """The rows for strategies (None: the scenario's), each once.

    `today` comes first if the scenario names today's strategy and it is not among them. `cache-everywhere`
    comes last if the scenario names today's strategy and some backends have their cache off: it is the first
    strategy with a cache (today's, if it has one) with the cache on everywhere.
    """
    names = list(dict.fromkeys(case.scenario.strategies if strategies is None else strategies))
    rows = [Row(name, name, case) for name in names]
    today, backends = case.scenario.today, case.scenario.backends
    if today is None:
        return rows
    off = [name for name, backend in backends.items() if not backend.image_volume_cache_enabled]
    cached = [name for name in (today, *names) if STRATEGIES[name].image_volume_cache_enabled]
    if off and cached:
        rows.append(Row(EVERYWHERE, cached[0], with_caches(case, dict.fromkeys(off, True))))
    return rows if today in names else [Row(TODAY, today, case), *rows]


def with_caches(case: Case, enabled: dict[str, bool]) -> Case:
    """The case with the caches of some backends on or off; their limits stay."""
    values: dict[tuple[str, ...], object] = {("backends", name, ENABLED): on for name, on in enabled.items()}
    return replace(case, scenario=case.scenario.varied(values))
