"""The best of all combinations of the backends' candidates, exactly, by mixed-integer programming."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize

from sim.analysis.statistics import Estimate

Floats = npt.NDArray[np.float64]
TOLERANCE = 1e-7
MOST_CUTS = 200


@dataclass(frozen=True)
class Bound:
    """A bound: `room` and the margins of the chosen candidates, by backend, must add up to 0 or more.

    `factor` standard errors are first taken off the sum. `scale`: the shortfall that counts as one if a bound
    cannot be kept.
    """

    margins: Mapping[str, Estimate]
    room: float
    factor: float
    scale: float = 1.0

    def margin(self, chosen: Mapping[str, int]) -> float:
        """The margin of a choice of candidates."""
        point = self.room + sum(float(of.point[chosen[name]]) for name, of in self.margins.items())
        return point - self.factor * float(np.linalg.norm(self._deviations(chosen)))

    def _deviations(self, chosen: Mapping[str, int]) -> Floats:
        total: Floats = np.sum([of.deviations[chosen[name]] for name, of in self.margins.items()], axis=0)
        return total

    def cut(self, chosen: Mapping[str, int] | None) -> tuple[Floats, float]:
        """Coefficients over all candidates and a constant whose sum must not be below 0.

        Without `chosen`, they ignore standard errors. A sum's standard error is the norm of its deviations.
        It is never less than their product with a vector of length 1 (Cauchy and Schwarz). With the direction
        of `chosen`, the cut is exact there, and it takes away no choice that keeps the bound.
        """
        points = np.concatenate([of.point for of in self.margins.values()])
        if chosen is None or self.factor == 0:
            return points, self.room
        direction = self._deviations(chosen)
        length = float(np.linalg.norm(direction))
        if length == 0:
            return points, self.room
        along = np.concatenate([of.deviations @ (direction / length) for of in self.margins.values()])
        return points - self.factor * along, self.room


@dataclass(frozen=True)
class Optimum:
    """The position of each backend's candidate. `short`: the sum of the shortfalls, in the bounds' scales."""

    chosen: dict[str, int]
    short: float


def optimum(
    allowed: Mapping[str, npt.NDArray[np.bool_]],
    bounds: Sequence[Bound],
    objectives: Sequence[Mapping[str, Floats]],
) -> Optimum:
    """Choose one candidate of each backend: the least shortfall, then the least of each objective in turn.

    `allowed`: by backend, the candidates that may be chosen. Standard errors are norms, so this is a
    second-order cone program. Linear cuts at the solutions approach the cones from outside (Duran and
    Grossmann, Mathematical Programming 36, 1986). HiGHS solves each program.
    """
    sizes = {name: len(of) for name, of in allowed.items()}
    count = sum(sizes.values())
    one_each = np.zeros((len(sizes), count + len(bounds)))
    at = 0
    for number, size in enumerate(sizes.values()):
        one_each[number, at : at + size] = 1
        at += size
    upper = np.concatenate([*(of.astype(float) for of in allowed.values()), np.full(len(bounds), np.inf)])
    program = _Program(one_each, upper, list(sizes.items()), bounds)
    shortfall = np.concatenate([np.zeros(count), [1 / bound.scale for bound in bounds]])
    chosen, short = program.least(shortfall)
    program.keep(shortfall, short * (1 + TOLERANCE))
    for objective in objectives:
        costs = np.concatenate([*objective.values(), np.zeros(len(bounds))])
        chosen, least = program.least(costs)
        program.keep(costs, least + TOLERANCE * max(1.0, abs(least)))
    return Optimum(chosen, 0.0 if short <= 10 * TOLERANCE else short)


class _Program:
    """Binary variables for the candidates, a shortfall for each bound, and cuts, which are added as found."""

    def __init__(
        self, one_each: Floats, upper: Floats, sizes: list[tuple[str, int]], bounds: Sequence[Bound]
    ) -> None:
        self._sizes, self._bounds = sizes, bounds
        self._cut: set[tuple[int, ...]] = set()  # bounds, each with a choice at which its cut is exact
        self._count = one_each.shape[1] - len(bounds)
        self._range = optimize.Bounds(0, upper)
        self._integral = np.concatenate([np.ones(self._count), np.zeros(len(bounds))])
        self._constraints = [optimize.LinearConstraint(one_each, 1, 1)]
        for number in range(len(bounds)):
            self._add_cut(number, None)

    def keep(self, costs: Floats, most: float) -> None:
        """Keep the costs below `most` from now on."""
        self._constraints.append(optimize.LinearConstraint(costs[None, :], -np.inf, most))

    def least(self, costs: Floats) -> tuple[dict[str, int], float]:
        """The choice of least cost, and that cost."""
        for _ in range(MOST_CUTS):
            found = self._solved(costs)
            chosen = self._chosen(found.x)
            slack = found.x[self._count :]
            broken = [
                number
                for number, bound in enumerate(self._bounds)
                if bound.margin(chosen) + slack[number] < -10 * TOLERANCE * bound.scale
                and (number, *chosen.values()) not in self._cut  # else what lacks is the solver's tolerance
            ]
            if not broken:
                return chosen, float(costs @ self._exactly(chosen))
            for number in broken:
                self._add_cut(number, chosen)
        raise RuntimeError("no plan was found: the cuts do not end")

    def _solved(self, costs: Floats) -> Any:
        """The solver's answer, without presolve if that fails, as it does on numbers that differ much."""
        for presolve in (True, False):
            found = optimize.milp(
                costs,
                integrality=self._integral,
                bounds=self._range,
                constraints=self._constraints,
                options={"mip_rel_gap": 0.0, "presolve": presolve},
            )
            if found.x is not None:
                return found
        raise RuntimeError(f"no plan was found: {found.message}")

    def _exactly(self, chosen: dict[str, int]) -> Floats:
        """All exact variables at a choice. The solver's are off by its tolerances, and below the true cost.

        These keep every cut, also later ones, so that later solutions can reach this cost.
        """
        x, at = np.zeros(self._count + len(self._bounds)), 0
        for name, size in self._sizes:
            x[at + chosen[name]] = 1
            at += size
        x[at:] = [max(0.0, -bound.margin(chosen)) for bound in self._bounds]
        return x

    def _add_cut(self, number: int, chosen: dict[str, int] | None) -> None:
        if chosen is not None:
            self._cut.add((number, *chosen.values()))
        coefficients, constant = self._bounds[number].cut(chosen)
        slack = np.zeros(len(self._bounds))
        slack[number] = 1
        self._constraints.append(
            optimize.LinearConstraint(np.concatenate([coefficients, slack])[None, :], -constant, np.inf)
        )

    def _chosen(self, x: Floats) -> dict[str, int]:
        chosen, at = {}, 0
        for name, size in self._sizes:
            chosen[name] = int(np.argmax(x[at : at + size]))
            at += size
        return chosen
