"""The scopes of a sweep's results: each tier, then each pool, each backend, and all."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from sim.fast.names import Names
from sim.fast.state import Array
from sim.inputs.hosts import backend_of
from sim.inputs.scenario import Scenario
from sim.sweep.results import ALL, Scope

Floats = npt.NDArray[np.float64]


class Scopes:
    """What belongs to each scope: the same in all runs of a prepared case.

    A group is a pool (from 1 on; 0 is none) and a tier, pool * T + tier. Each scope has its `names`, the
    tiers that it serves (`served`; all serves none by itself), and the `stretches` of its groups, each with
    its first and its end. `of_groups` (groups, 5) has the scopes of each group. Behind those of the results
    follow scopes of a group each, and the last for nobody. `of_accounts`: the scope of each account.
    """

    def __init__(self, scenario: Scenario, names: Names) -> None:
        tiers, pools, backends = len(names.tiers), len(names.hosts), len(names.backends)
        self.tiers, self.pools, self.groups = tiers, pools, (pools + 1) * tiers
        of_pools = [names.backends.index(backend_of(host)) for host in names.hosts]
        ends = np.searchsorted(of_pools, np.arange(backends + 1)).tolist()
        self.first_pools = np.array(ends[:-1])
        told: dict[Scope, list[str]] = {"tier": names.tiers, "pool": names.hosts, "backend": names.backends}
        self.names = [(scope, name) for scope, its in told.items() for name in its] + [("all", ALL)]
        served = [sorted(map(names.tiers.index, of.volume_types)) for of in scenario.backends.values()]
        self.served = [*([tier] for tier in range(tiers)), *(served[of] for of in of_pools), *served, []]
        self.stretches = [
            *([(at, at + 1) for at in range(tier, self.groups, tiers)] for tier in range(tiers)),
            *([(at, at + tiers)] for at in range(tiers, self.groups, tiers)),
            *([(tiers + first * tiers, tiers + end * tiers)] for first, end in pairwise(ends)),
            [(0, self.groups)],
        ]
        self.count = len(self.names)
        of_groups = [[self.count + group] for group in range(self.groups)]
        for number, its in enumerate(self.stretches):
            for group in (group for stretch in its for group in range(*stretch)):
                of_groups[group].append(number)
        nobody = self.count + self.groups
        self.of_groups = np.array([(its + [nobody] * 2)[:5] for its in of_groups])
        self.of_accounts = np.array([*range(tiers, tiers + pools), *range(tiers), self.count - 1])

    def sums(self, array: Floats) -> Floats:
        """The sums (scopes, ...) of an array (groups, ...)."""
        found = np.empty((self.count, *array.shape[1:]))
        array = array.reshape(-1, self.tiers, *array.shape[1:])
        np.add.reduce(array, axis=0, out=found[: self.tiers])
        np.add.reduce(array[1:], axis=1, out=found[self.tiers : self.tiers + self.pools])
        np.add.reduce(array, axis=(0, 1), out=found[-1])
        self.add_backends(found)
        return found

    def add_backends(self, array: Array) -> None:
        """Fill in the backends' rows of an array (scopes, ...): the sums over their pools."""
        until = self.tiers + self.pools
        np.add.reduceat(array[self.tiers : until], self.first_pools, out=array[until:-1])
