"""Translates Cinder's hosts (`node@backend#pool`) into a scenario's names (`backend#pool`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cinder.volume import volume_utils

from sim.inputs.hosts import backend_of, host_of
from sim.inputs.spec import LONGEST_NAME

# The type that Cinder gives to volumes without one (older releases store none).
NO_TYPE = "__DEFAULT__"


@dataclass(frozen=True)
class Place:
    """A pool: Cinder's host and the scenario's name."""

    node: str
    section: str
    backend: str
    pool: str

    @property
    def host(self) -> str:
        """The scenario's name of the pool."""
        return host_of(self.backend, self.pool)


def service(host: str) -> str:
    """Cinder's host without its pool: `node@backend`."""
    return backend_of(host)


def node_of(host: str) -> str:
    """The node of Cinder's host."""
    return volume_utils.extract_host(host, "host") or "_"


def places(hosts: Iterable[str], same: Mapping[str, str] | None = None) -> dict[str, Place]:
    """A place for each of Cinder's hosts, in their order.

    `same`: from a `node@backend` to the first name of the same backend, as for services of a cluster. A
    backend gets the name of its section in cinder.conf, with its node if several nodes have a section of that
    name. Letters that a scenario's names may not have become `_`, and names that are too long are cut.
    """
    parts = {host: _parts(host, same or {}) for host in dict.fromkeys(hosts)}
    nodes: dict[str, set[str]] = defaultdict(set)
    for node, section, _ in parts.values():
        nodes[section].add(node)
    found: dict[str, Place] = {}
    taken: dict[str, tuple[str, ...]] = {}
    for host, (node, section, pool) in parts.items():
        backend = _unique(
            section if len(nodes[section]) == 1 else f"{section}.{node}", (node, section), taken
        )
        pool = _unique(pool, (node, section, pool), taken, within=host_of(backend, ""))
        found[host] = Place(node or "_", section, backend, pool)
    return found


def _parts(host: str, same: Mapping[str, str]) -> tuple[str, str, str]:
    backend = same.get(service(host), volume_utils.extract_host(host, "backend"))
    node = volume_utils.extract_host(backend, "host")
    pool = volume_utils.extract_host(host, "pool", default_pool_name=True)
    return node, backend.partition("@")[2] or node, pool


def _plain(name: str) -> str:
    """A name with `_` for letters that a scenario's names and lists of hosts may not have."""
    return (
        "".join("_" if one in "#@/;" or one.isspace() or not one.isprintable() else one for one in name)
        or "_"
    )


def _unique(name: str, of: tuple[str, ...], taken: dict[str, tuple[str, ...]], within: str = "") -> str:
    whole = _plain(name)
    plain, number = whole[:LONGEST_NAME], 1
    while taken.setdefault(within + plain, of) != of:
        number += 1
        plain = f"{whole[: LONGEST_NAME - len(str(number)) - 1]}_{number}"
    return plain
