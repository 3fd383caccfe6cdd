"""The targets and budgets of a plan, for a tier or for all tiers together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sim.inputs.problems import Problems, quoted
from sim.planner.requirements import GOALS, KINDS
from sim.sweep.results import ALL

if TYPE_CHECKING:
    from sim.inputs.scenario import Scenario


@dataclass(frozen=True)
class Targets:
    """Bounds by tier (ALL: all tiers together).

    - hit_rate: lowest allowed clone-hit rate.
    - p95_s: highest allowed 95th percentile of the seconds of successful creates.
    - space_gib: highest allowed provisioned GiB of image-volumes; the peaks of the tier's backends add up.
    - price_month: highest allowed price of image-volumes per month.
    - errors: highest allowed number of failed creates in the whole workload, from an image or not. A tier
      without a bound may have as many as today or as without image-volumes, whichever is more.
    - spare_volumes: volumes that must still fit under every volume limit at the peak.
    - confidence: confidence level at which the bounds must hold; 0 checks the mean only.
    """

    hit_rate: Mapping[str, float] = field(default_factory=dict)
    p95_s: Mapping[str, float] = field(default_factory=dict)
    space_gib: Mapping[str, float] = field(default_factory=dict)
    price_month: Mapping[str, float] = field(default_factory=dict)
    errors: Mapping[str, float] = field(default_factory=dict)
    spare_volumes: int = 0
    confidence: float = 0.95

    def of(self, kind: str) -> Mapping[str, float]:
        """The bounds of one of KINDS."""
        bounds: Mapping[str, float] = getattr(self, kind)
        return bounds

    @property
    def shown_confidence(self) -> float:
        """The confidence of the intervals that are shown: 0.95 where the mean alone keeps the bounds."""
        return self.confidence or 0.95

    @property
    def goals(self) -> bool:
        """Whether something is to be reached; if not, a plan gets the most hits that the budgets allow."""
        return any(self.of(kind) for kind in GOALS)

    def planned(self, tiers: Iterable[str]) -> list[str]:
        """The tiers that are sized: those with a goal; without goals, those with a budget, or all."""
        named = {tier for kind in (GOALS if self.goals else KINDS) for tier in self.of(kind)}
        return [tier for tier in tiers if not named or ALL in named or tier in named]


def parse(texts: Mapping[str, Iterable[str]], spare_volumes: int, confidence: float) -> Targets:
    """Targets from what was written: `VALUE` or `TIER=VALUE`, by kind. Raises BadInput with all problems."""
    problems = Problems()
    bounds: dict[str, dict[str, float]] = {kind: {} for kind in KINDS}
    for kind, given in texts.items():
        of = KINDS[kind]
        for text in given:
            tier, _, number = text.rpartition("=")
            try:
                value = float(number)
            except ValueError:
                value = math.nan
            if not 0 <= value <= of.highest or math.isinf(value):
                problems.add(of.option, quoted(text), f"is not {of.value}, or TIER={of.value}")
            elif tier in bounds[kind]:
                problems.add(of.option, quoted(text), "is a second value for the same")
            else:
                bounds[kind][tier] = value
    if not 0 <= confidence < 1:
        problems.add("--confidence", str(confidence), "is not from 0 to less than 1")
    problems.raise_any()
    return Targets(**bounds, spare_volumes=spare_volumes, confidence=confidence)


def check(targets: Targets, scenario: Scenario, creates: Mapping[str, int]) -> None:
    """Raises BadInput for tiers that the scenario lacks, or that have no creates to keep a bound."""
    problems = Problems()
    for kind, of in KINDS.items():
        for tier in targets.of(kind):
            if tier != ALL and tier not in scenario.tiers:
                problems.add(of.option, quoted(tier), f"is no tier, only {', '.join(scenario.tiers)}")
            elif of.goal and not (sum(creates.values()) if tier == ALL else creates.get(tier, 0)):
                problems.add(of.option, quoted(tier or "all"), "has no creates from an image")
    problems.raise_any()
