"""What creates share, as arrays of a run: links, and threads of services."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.fast import state
from sim.fast.state import NO_LIMIT, NONE
from sim.inputs.nodes import Node
from sim.inputs.scenario import Scenario
from sim.model.links import Links


def limit_of(limit: int | None) -> int:
    """A limit as a number."""
    return NO_LIMIT if limit is None else limit


def as_records(of: Sequence[Any], dtype: np.dtype[Any]) -> state.Array:
    """Objects as records with the same fields."""
    rows = np.zeros(len(of), dtype)
    for name in dtype.names or ():
        rows[name] = [getattr(each, name) for each in of]
    return rows


def glance_routes(scenario: Scenario, shared: Links, nodes: int) -> npt.NDArray[np.int64]:
    """The routes between Glance and each node of each pool's backend (pools, nodes)."""
    routes = np.full((len(scenario.pools()), nodes), NONE, np.int64)
    for pool, host in enumerate(scenario.pools()):
        names = scenario.backend_at(host).node_names
        routes[pool, : len(names)] = [shared.of_node.get(name, shared.of_glance) for name in names]
    return routes


def threads_of(scenario: Scenario, nodes: int) -> state.Array:
    """The threads of each backend's cinder-volume on each of its nodes (backends, nodes)."""
    threads = np.zeros((len(scenario.backends), nodes), state.THREADS)
    for number, backend in enumerate(scenario.backends.values()):
        for position, name in enumerate(backend.node_names):
            limit = scenario.nodes.get(name, Node()).executor_thread_pool_size
            threads[number, position]["limit"] = limit_of(limit)
    return threads
