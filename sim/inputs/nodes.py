"""The keys of cinder-volume nodes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sim.inputs.backend import DEFAULT_NODE
from sim.inputs.problems import Problems, quoted
from sim.inputs.spec import Capacity, Count, Rate, Spec


class Node(Spec):
    """Limits of a cinder-volume node, which all backends on it share. A limit of null means no limit."""

    image_conversion_gib: Capacity | None = None
    """Space for Cinder's `image_conversion_dir`, where a node keeps the images that it downloads or
    converts; null: unlimited."""
    executor_thread_pool_size: Count | None = None
    """Messages that each cinder-volume on the node handles at the same time (oslo.messaging's option, 64 by
    default): creates, deletes, uploads and snapshots. Null: no limit."""
    total_mib_s: Rate | None = None
    """Rate that all downloads and uploads on the node share; null: no limit. What the node writes to an array
    is no part of it."""


def check_nodes(path: Path, raw: Mapping[Any, Any], problems: Problems) -> None:
    """Note nodes on which no backend runs, of the scenario as it was read."""
    nodes, backends = raw.get("nodes"), raw.get("backends")
    if not isinstance(nodes, dict) or not isinstance(backends, dict):
        return
    known: set[str] = set()
    for backend in backends.values():
        if isinstance(backend, dict):
            named = backend.get("nodes") or backend.get("node") or DEFAULT_NODE
            known.update(map(str, named if isinstance(named, list) else [named]))
    for name in nodes:
        if str(name) not in known:
            names = ", ".join(map(quoted, sorted(known)))
            what = f"no backend runs on node {quoted(str(name))}: must be one of {names}"
            problems.add(path, f"nodes.{name}", what, "no backend runs on the node")
