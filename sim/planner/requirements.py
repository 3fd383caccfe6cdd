"""The kinds of bounds that a plan keeps: one class for each kind, which measures the room that is left."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sim.sweep.results import ALL

if TYPE_CHECKING:
    from sim.analysis.statistics import Estimate, Sample
    from sim.inputs.scenario import Scenario
    from sim.planner.measured import Measured, Table


@dataclass(frozen=True)
class Requirement(ABC):
    """One bound, of the tier `name` (ALL: of all tiers together; `SpareVolumes`: of a backend).

    A margin is the room that is left to the bound. The bound is kept if its margin is 0 or more. `given`: the
    user asked for it; a plan also keeps bounds that the user did not ask for.
    """

    name: str
    bound: float
    given: bool = True

    kind: ClassVar[str]
    words: ClassVar[str]  # for what is bounded
    option: ClassVar[str]  # of the command
    highest: ClassVar[float] = math.inf  # bound that can be asked for; the lowest is 0
    value: ClassVar[str]  # of the option, in words
    unit: ClassVar[str] = ""
    goal: ClassVar[bool] = False  # something to reach; the others say how much it may cost
    from_below: ClassVar[bool] = False
    sure: ClassVar[bool] = False  # kept at the worse end of the interval; else in every replication

    @property
    def where(self) -> str:
        """The tier or backend, as documents name it."""
        return self.name or "all"

    @property
    def scale(self) -> float:
        """The shortfall that counts as one if not all bounds can be kept: goals give way before budgets."""
        return 1.0 if self.goal else max(1.0, self.bound) / 1000

    def reached(self, margin: float) -> float:
        """The value that leaves this margin."""
        return self.bound + margin if self.from_below else self.bound - margin

    def said(self, value: float) -> str:
        """A value in words."""
        return f"{value:g}{self.unit}"

    def nearest(self, margin: float) -> str:
        """The value that leaves this margin, in words ('': it says little)."""
        return f"{self.reached(margin):,.5g}"

    @property
    def text(self) -> str:
        """The bound in words."""
        of = f" of {self.name}" if self.name else " in all"
        kept = "" if self.given else " (no more than today or without image-volumes)"
        most = "at least" if self.from_below else "at most"
        return f"{self.words}{of}: {most} {self.said(self.bound)}{kept}"

    def factor(self, sample: Sample, confidence: float) -> float:
        """The number of standard errors that are taken off the margin."""
        return sample.factor(confidence) if self.sure else 0.0

    def room(self, table: Table, sample: Sample) -> float:
        """The part of the margin that does not come from backends; the two parts add up."""
        return -self.bound if self.from_below else self.bound

    @abstractmethod
    def margins(self, table: Table, sample: Sample, scenario: Scenario) -> dict[str, Estimate]:
        """By group, (candidates,): what its backends add to the margin."""


class _OfBackends(Requirement):
    """A bound on what adds up over backends."""

    def margins(self, table: Table, sample: Sample, scenario: Scenario) -> dict[str, Estimate]:
        found = {}
        for group, members in table.groups.items():
            first, *others = (self._of_backend(name, table, sample, scenario) for name in members)
            found[group] = sum(others, start=first)
        return found

    @abstractmethod
    def _of_backend(self, backend: str, table: Table, sample: Sample, scenario: Scenario) -> Estimate:
        """(candidates,): what a backend adds to the margin."""


class HitRate(_OfBackends):
    """Clone hits in shares of the tier's creates."""

    kind, words = "hit_rate", "the hit rate"
    option, value, highest = "--target-hit-rate", "a share from 0 to 1", 1.0
    goal = from_below = sure = True

    def said(self, value: float) -> str:
        return f"{100 * value:g} %"

    def nearest(self, margin: float) -> str:
        return f"{100 * self.reached(margin):.1f} %"

    def _of_backend(self, backend: str, table: Table, sample: Sample, scenario: Scenario) -> Estimate:
        clones = table.backends[backend].units("clones", self.name)
        return sample.ratio(clones, table.creates[self.name])


class CreateP95(_OfBackends):
    """A 95th percentile is at most T if at most 5 % of the creates that succeed take longer than T.

    This adds up over backends. The margin is a share of the tier's creates, which says little to a reader.
    """

    kind, words, unit = "p95_s", "the 95th percentile of create seconds", " s"
    option, value = "--max-p95-s", "seconds"
    goal = sure = True

    def nearest(self, margin: float) -> str:
        return ""

    def room(self, table: Table, sample: Sample) -> float:
        """Numpy's 95th percentile lies between two creates: 5 % of one of them is taken off."""
        creates = table.creates[self.name]
        counts = creates if sample.kind == "replications" else creates.sum(keepdims=True)
        return -float((0.05 / counts.clip(1)).mean())

    def _of_backend(self, backend: str, table: Table, sample: Sample, scenario: Scenario) -> Estimate:
        measured = table.backends[backend]
        slow = measured.units("slow_all" if self.name == ALL else "slow", self.name)
        return sample.ratio(0.05 * measured.units("made", self.name) - slow, table.creates[self.name])


class _OfVolumes(_OfBackends):
    """A bound on the image-volumes of the backends that serve a tier."""

    def _of_backend(self, backend: str, table: Table, sample: Sample, scenario: Scenario) -> Estimate:
        measured = table.backends[backend]
        if self.name != ALL and self.name not in measured.tiers:
            return sample.certain([0.0] * len(measured))
        return self._of_volumes(measured, sample, scenario)

    @abstractmethod
    def _of_volumes(self, measured: Measured, sample: Sample, scenario: Scenario) -> Estimate: ...


class Space(_OfVolumes):
    """Provisioned GiB at the peak."""

    kind, words, unit = "space_gib", "the space of image-volumes", " GiB"
    option, value = "--budget-gib", "GiB"

    def _of_volumes(self, measured: Measured, sample: Sample, scenario: Scenario) -> Estimate:
        return sample.certain(-measured.peak("image_provisioned_gib_peak"))


class Price(_OfVolumes):
    """The price of image-volumes a month."""

    kind, words, unit = "price_month", "the price of image-volumes", " a month"
    option, value = "--budget-price", "a price a month"
    sure = True

    def _of_volumes(self, measured: Measured, sample: Sample, scenario: Scenario) -> Estimate:
        return sample.mean(-measured.prices(scenario))


class Errors(Requirement):
    """Failed creates in a group's worst replication, including those that ended on no backend."""

    kind, words = "errors", "failed creates"
    option, value = "--max-errors", "a number of creates"

    def margins(self, table: Table, sample: Sample, scenario: Scenario) -> dict[str, Estimate]:
        found = {}
        for group, members in table.groups.items():
            errors = sum(table.backends[name].failed(self.name) for name in members)
            found[group] = sample.certain(-(table.unplaced[self.name][group] + errors).max(axis=1))
        return found


class SpareVolumes(_OfBackends):
    """Volumes that still fit at the peak under the fullest volume limit of the backend `name`."""

    kind, words = "spare_volumes", "places that stay free"
    from_below = True

    def _of_backend(self, backend: str, table: Table, sample: Sample, scenario: Scenario) -> Estimate:
        measured = table.backends[backend]
        free = measured.free_volumes if backend == self.name else None
        return sample.certain([0.0] * len(measured) if free is None else free)


# The kinds that may be asked for by tier, by the names of their fields in `Targets`.
KINDS: dict[str, type[Requirement]] = {each.kind: each for each in (HitRate, CreateP95, Space, Price, Errors)}
GOALS = [kind for kind, of in KINDS.items() if of.goal]
