"""Runs that keep each change on the arrays, not only what it comes to at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from sim.cinder import engine
from sim.cinder.parts import PARTS
from sim.inputs.scenario import Case
from sim.inputs.strategies import STRATEGIES
from sim.model.records import Records
from sim.model.usage import UsageMeter

Change = tuple[float, str, str, str, float, float, float]


def run(
    case: Case,
    strategy: str,
    progress: Callable[[int], None] | None = None,
    *,
    cinder_log: bool = False,
) -> tuple[Records, list[Change]]:
    """Run a case whose trace already has its prefetches. Returns the tables, and the changes in order.

    A change is its time and the arguments of `UsageMeter.add` after that.
    """
    changes = _Changes()
    parts = replace(PARTS, meter=changes.meter)
    simulation = engine.Simulation(case, STRATEGIES[strategy], progress, parts)
    return engine.played(simulation, cinder_log), changes.rows


@dataclass(frozen=True)
class _Changes:
    rows: list[Change] = field(default_factory=list)

    @property
    def meter(self) -> type[UsageMeter]:
        """A meter that notes them too."""
        rows = self.rows

        class Noting(UsageMeter):
            def add(self, *change: Any) -> None:
                super().add(*change)
                rows.append((self.last, *change))

        return Noting
