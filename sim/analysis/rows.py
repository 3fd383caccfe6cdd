"""The rows of a comparison: strategies, today's settings, a cache on every backend where some lack one.

Each with each Cinder that is to decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sim.inputs.cinders import INSTALLED, Cinder
from sim.inputs.limits import ENABLED
from sim.inputs.scenario import Case
from sim.inputs.strategies import STRATEGIES

TODAY, EVERYWHERE = "today", "cache-everywhere"
AT = "@"


@dataclass(frozen=True)
class Row:
    """A row of a comparison: its name in tables and folders, its strategy, its case, and who decides."""

    name: str
    strategy: str
    case: Case
    cinder: Cinder = INSTALLED

    @property
    def way(self) -> str:
        """Its name without the Cinder's: rows of one way differ in the Cinder alone."""
        return self.name.partition(AT)[0]


def decided_by(rows: Iterable[Row], cinders: Sequence[Cinder]) -> list[Row]:
    """The rows with each Cinder; the rows of several Cinders have its name, too: `cache-only@26.3.0`."""
    if len(cinders) == 1:
        return [replace(row, cinder=cinders[0]) for row in rows]
    return [replace(row, name=f"{row.name}{AT}{one.name}", cinder=one) for row in rows for one in cinders]


def rows_of(
    case: Case, strategies: Iterable[str] | None = None, cinders: Sequence[Cinder] = (INSTALLED,)
) -> list[Row]:
    """The rows for strategies (None: the scenario's), each once with each of the Cinders.

    `today` comes first if the scenario names today's strategy and it is not among them. `cache-everywhere`
    comes last if the scenario names today's strategy and some backends have their cache off: it is the first
    strategy with a cache (today's, if it has one) with the cache on everywhere.
    """
    return decided_by(_rows(case, strategies), cinders)


def _rows(case: Case, strategies: Iterable[str] | None) -> list[Row]:
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
