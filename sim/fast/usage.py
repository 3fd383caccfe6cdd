"""Time-weighted means and peaks of space and places, as `sim.model.usage.UsageMeter` folds them."""

from __future__ import annotations

import math

from sim.fast.jit import compiled
from sim.fast.state import ACCOUNTS, CACHE, CACHED, IMAGES, ORPHANS, STORE, STORED, USERS, State


@compiled
def meter(s: State, pool: int, tier: int, kind: int, volumes: int, provisioned: int, physical: float) -> None:
    """Note a change of space in the accounts of the pool, the tier and all."""
    s.world[0].last_change = s.world[0].now
    account = USERS
    if kind == STORE:
        account = STORED
    elif kind == CACHE:
        account = CACHED
    enter(s, pool, tier, account, volumes, provisioned, physical)
    if kind != 0:
        enter(s, pool, tier, IMAGES, volumes, provisioned, physical)


@compiled
def enter(
    s: State, pool: int, tier: int, account: int, volumes: int, provisioned: int, physical: float
) -> None:
    pools, tiers = s.options[0].pools, s.options[0].tiers
    book(s, pool * ACCOUNTS + account, volumes, provisioned, physical)
    book(s, (pools + tier) * ACCOUNTS + account, volumes, provisioned, physical)
    book(s, (pools + tiers) * ACCOUNTS + account, volumes, provisioned, physical)


@compiled
def book(s: State, number: int, volumes: int, provisioned: int, physical: float) -> None:
    a, now = s.accounts[number], s.world[0].now
    held = now - a.since
    a.since = now
    a.volumes_area += held * a.volumes
    a.provisioned_area += held * a.provisioned
    a.physical_area += held * a.physical
    a.volumes += volumes
    a.provisioned += provisioned
    a.physical += physical
    a.volumes_peak = max(a.volumes_peak, a.volumes)
    a.provisioned_peak = max(a.provisioned_peak, a.provisioned)
    a.physical_peak = max(a.physical_peak, a.physical)


@compiled
def orphan(s: State, pool: int, tier: int) -> None:
    """Note an image-volume that has lost its entry and stays."""
    s.world[0].last_change = s.world[0].now
    enter(s, pool, tier, ORPHANS, 1, 0, 0.0)


@compiled
def pass_edges(s: State, upcoming: float) -> None:
    """Note the accounts and what lies in the conversion directories at every edge before the next event."""
    w = s.world[0]
    while w.next_edge < upcoming:
        for number in range(len(s.accounts)):
            a, noted = s.accounts[number], s.edge_accounts[w.edges, number]
            held = w.next_edge - a.since
            noted.since = w.next_edge
            noted.volumes = a.volumes
            noted.provisioned = a.provisioned
            noted.physical = a.physical
            noted.volumes_area = a.volumes_area + held * a.volumes
            noted.provisioned_area = a.provisioned_area + held * a.provisioned
            noted.physical_area = a.physical_area + held * a.physical
        for number in range(len(s.directories)):
            d, lies = s.directories[number], s.edge_directories[w.edges, number]
            lies.used, lies.peak = d.used, d.edge_peak
            d.edge_peak = d.used
        w.edges += 1
        w.next_edge = s.edges[w.edges] if w.edges < len(s.edges) else math.inf
