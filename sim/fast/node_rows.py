"""Which locks and which conversion directory a node of a backend has: rows of arrays of a run."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sim.inputs.hosts import backend_of
from sim.inputs.scenario import Scenario


def lock_rows_of(scenario: Scenario, nodes: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Which locks the creates on a pool take, on each of its backend's nodes (pools, nodes).

    The locks of images, and the lock of fills: see `sim.inputs.scenario.WhatIf`.
    """
    known: tuple[dict[object, int], ...] = ({}, {})
    rows = np.zeros((2, len(scenario.pools()), nodes), np.int64)
    for pool, host in enumerate(scenario.pools()):
        for number, node in enumerate(scenario.backend_at(host).node_names):
            where = node if scenario.cinder.lock_scope == "node" else ""
            of_images = host if scenario.what_if.lock_per_pool else ""
            of_fills = backend_of(host) if scenario.what_if.limits_per_backend else host
            for kind, name in enumerate((of_images, of_fills)):
                rows[kind, pool, number] = known[kind].setdefault((where, name), len(known[kind]))
    return rows[0], rows[1]


def directories_of(scenario: Scenario, names: list[str], nodes: int) -> npt.NDArray[np.int64]:
    """The row in `State.directories` of each node of a pool's backend (pools, nodes); `names`: all."""
    rows = np.zeros((len(scenario.pools()), nodes), np.int64)
    for pool, host in enumerate(scenario.pools()):
        for number, node in enumerate(scenario.backend_at(host).node_names):
            rows[pool, number] = names.index(node)
    return rows
