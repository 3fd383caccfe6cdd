"""Time-weighted means and peaks of space and places, as `sim.model.usage.UsageMeter` folds them."""

from __future__ import annotations

import math
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from sim.fast.jit import INTERPRETED, compiled, inlined
from sim.fast.state import ACCOUNTS, CACHE, CACHED, FIELDS, IMAGES, ORPHANS, STORE, STORED, USERS, State


@inlined
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
    now = s.world[0].now
    book(s.accounts[pool * ACCOUNTS + account], now, volumes, provisioned, physical)
    book(s.accounts[(pools + tier) * ACCOUNTS + account], now, volumes, provisioned, physical)
    book(s.accounts[(pools + tiers) * ACCOUNTS + account], now, volumes, provisioned, physical)


def _book_plain(a: Any, now: float, volumes: float, provisioned: float, physical: float) -> None:
    """Change an account, a record of `ACCOUNT`, after its level was held until now."""
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


@intrinsic
def _book_at_once(
    typing_context: Any, a: Any, now: Any, volumes: Any, provisioned: Any, physical: Any
) -> Any:
    """As `_book_plain`, all quantities in one instruction each time: half of what the processor does."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        number, lanes = ir.DoubleType(), len(FIELDS) + 1
        vector, since = ir.VectorType(number, lanes), ir.IntType(32)(lanes - 1)
        account = builder.bitcast(args[0], vector.as_pointer())
        places = [builder.gep(account, [ir.IntType(32)(stat)]) for stat in range(3)]
        level, area, peak = (builder.load(place, align=8) for place in places)
        held = builder.fsub(args[1], builder.extract_element(level, since))
        helds, change = vector(ir.Undefined), vector([0.0] * lanes)
        for lane in range(lanes):
            helds = builder.insert_element(helds, held, ir.IntType(32)(lane))
        for lane, amount in enumerate(args[2:]):
            change = builder.insert_element(change, amount, ir.IntType(32)(lane))
        area = builder.fadd(area, builder.fmul(helds, level))
        level = builder.insert_element(builder.fadd(level, change), args[1], since)
        peak = builder.select(builder.fcmp_ordered(">", level, peak), level, peak)
        for place, value in zip(places, (level, area, peak), strict=True):
            builder.store(value, place, align=8)
        return context.get_dummy_value()

    return types.none(a, *(types.float64,) * 4), code


book = _book_plain if INTERPRETED else _book_at_once


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
