"""Hosts and cluster names in Cinder's rows: of services, volumes and cache entries.

The nodes of a cluster have a host each, and a cluster name in common. Nodes that share a `backend_host` have
one host and no cluster. What follows the `@` of either is the scenario's own name: a backend, or a pool's
host.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from sim.inputs.backend import Backend

CLUSTER = "cluster"  # the name of each cluster; backends tell clusters apart


def host_on(node: int, name: str, spec: Backend) -> str:
    """The host of a backend's service, or of a pool, on the backend's node of this position."""
    return f"{node}@{name}" if spec.cluster else name


def cluster_of(name: str, spec: Backend) -> str | None:
    """The cluster of a backend or of a pool; None: it has none."""
    return f"{CLUSTER}@{name}" if spec.cluster else None


def address(host: str, spec: Backend) -> dict[str, Any]:
    """Host and cluster name of a volume on a pool, before a node makes it its own."""
    return {"host": host_on(0, host, spec), "cluster_name": cluster_of(host, spec)}


def scope(host: str, spec: Backend) -> dict[str, Any]:
    """The filter for the rows of a pool, as Cinder's look-ups have it."""
    return {"cluster_name": cluster_of(host, spec)} if spec.cluster else {"host": host}


@cache
def scenarios_own(name: str) -> str:
    """The scenario's name of a host or a cluster: a backend, or a pool's host (backend#pool)."""
    return name.rpartition("@")[2]
