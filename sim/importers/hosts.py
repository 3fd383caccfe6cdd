"""Cinder's hosts, the backend of each, and the section of cinder.conf that describes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from sim.importers.names import Place, node_of, places, service
from sim.importers.notes import Note, shortened
from sim.importers.settings import Configuration, Section


@dataclass(frozen=True)
class Hosts:
    """`places` by Cinder's host (`node@backend#pool`), `sections` by the scenario's backend.

    A section is None if no file describes the backend. `seen`: backends that hold something. `clusters`: the
    nodes of each clustered backend: those whose services take creates, else those that hold or held
    something of it.
    """

    places: dict[str, Place]
    sections: dict[str, Section | None]
    seen: frozenset[str]
    clusters: dict[str, list[str]]


def find(
    seen: Iterable[str], clusters: pd.DataFrame, services: pd.DataFrame, configuration: Configuration | None
) -> Hosts:
    """The hosts of cinder.conf come first, in its order; a section without volumes gets a pool.

    `seen`: hosts that hold something. `clusters`: the columns `host` and `cluster` of some of them.
    `services`: those of a database, as `History` has them.
    """
    seen = list(dict.fromkeys(seen))
    clustered = services[services["cluster"] != ""]
    clusters = pd.concat([clusters, clustered])
    up = set(clustered.loc[clustered["why"] == "", "host"])
    enabled = list(configuration.sections.values()) if configuration else []
    same = _same(seen, clusters, enabled)
    parts = places(seen, same)
    told = _told(parts.values(), configuration)
    ordered = [
        host
        for section in enabled
        for host, place in parts.items()
        if told[place.node, place.section] is section
    ]
    idle = [f"{one.host}@{one.name}" for one in enabled if not any(each is one for each in told.values())]
    if not seen and not enabled:
        idle = ["cloud@backend#pool"]  # only Glance was read
    # In the order of the files, hosts without volumes last.
    found = places([*ordered, *idle, *(host for host in seen if host not in ordered)], same)
    told = _told(found.values(), configuration)
    sections = {place.backend: told[place.node, place.section] for place in found.values()}
    backends = {same[service(host)]: place.backend for host, place in found.items() if service(host) in same}
    members = _members(map(service, seen), same, backends) | _members(up, same, backends)
    return Hosts(found, sections, frozenset(found[host].backend for host in seen), members)


def _members(
    services: Iterable[str], same: Mapping[str, str], backends: Mapping[str, str]
) -> dict[str, list[str]]:
    """The nodes of clustered backends among these services."""
    members: dict[str, list[str]] = {}
    for host in sorted(set(services)):
        if same.get(host) in backends:
            nodes = members.setdefault(backends[same[host]], [])
            nodes += [node] if (node := node_of(host)) not in nodes else []
    return members


def _same(seen: list[str], clusters: pd.DataFrame, enabled: list[Section]) -> dict[str, str]:
    """For each service of a cluster, the cluster's first service: they share their backend."""
    of = {
        service(host): service(cluster)
        for host, cluster in zip(clusters["host"], clusters["cluster"], strict=True)
        if cluster
    }
    for section in enabled:
        mine = f"{section.cluster}@{section.name}"
        for host in (service(host) for host in seen):
            if section.cluster and host.endswith(f"@{section.name}"):
                of.setdefault(host, mine)
        if section.cluster:
            of.setdefault(f"{section.host}@{section.name}", mine)
    first: dict[str, str] = {}
    for host in dict.fromkeys([*map(service, seen), *of]):
        if host in of:
            first.setdefault(of[host], host)
    return {host: first[cluster] for host, cluster in of.items()}


def _told(
    found: Iterable[Place], configuration: Configuration | None
) -> Mapping[tuple[str, str], Section | None]:
    """The section of each node and backend. Services without a host option are assigned in order."""
    of: dict[tuple[str, str], Section | None] = {}
    for node, name in dict.fromkeys((place.node, place.section) for place in found):
        same = [one for one in configuration.sections.values() if one.name == name] if configuration else []
        exact = [one for one in same if one.cluster or node in (one.host, *one.nodes)]
        free = [one for one in same if not one.host_told and not any(one is each for each in of.values())]
        of[node, name] = next(iter([*exact, *free, *same]), None)
    return of


def tell(services: pd.DataFrame, found: Hosts) -> Iterator[Note]:
    """Notes on services that take no creates, and on those that the scenario does not have."""
    away = [f"{row.host} ({row.why})" for row in services[services["why"] != ""].itertuples()]
    if away:
        what = "they are not nodes of their clusters; a backend of such a service stays, for its volumes"
        yield Note("read", f"services of cinder-volume that take no creates: {what}: {shortened(away)}")
    there = {service(host) for host in found.places}
    idle = services[(services["why"] == "") & (services["cluster"] == "") & ~services["host"].isin(there)]
    if len(idle):
        what = "the scenario does not have them, because their pools are not known; --pools has these"
        yield Note("unknown", f"services of cinder-volume without volumes: {what}: {shortened(idle['host'])}")
