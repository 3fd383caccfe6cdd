"""A host: how a scenario names a pool, `backend#pool`, as Cinder does within a node."""

from __future__ import annotations

SEPARATOR = "#"


def host_of(backend: str, pool: str) -> str:
    """The host that a pool of a backend is."""
    return f"{backend}{SEPARATOR}{pool}"


def parts_of(host: str) -> tuple[str, str]:
    """The names of a host's backend and of its pool; that of the pool is empty if the host names none."""
    backend, _, pool = host.partition(SEPARATOR)
    return backend, pool


def backend_of(host: str) -> str:
    """The name of a host's backend; a backend's own name is its own."""
    return parts_of(host)[0]
