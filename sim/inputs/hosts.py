"""A host: the scenario's name of a pool, `backend#pool`, as in Cinder within a node."""

from __future__ import annotations

from functools import cache

SEPARATOR = "#"


def host_of(backend: str, pool: str) -> str:
    """The host of a backend's pool."""
    return f"{backend}{SEPARATOR}{pool}"


def parts_of(host: str) -> tuple[str, str]:
    """The names of a host's backend and of its pool; that of the pool is empty if the host names none."""
    backend, _, pool = host.partition(SEPARATOR)
    return backend, pool


@cache
def backend_of(host: str) -> str:
    """The name of a host's backend; for a backend's own name, that name."""
    return parts_of(host)[0]
