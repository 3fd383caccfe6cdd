"""What backends last reported of their pools, which the scheduler reads.

A report of all changes no pool, and few pools change between two of them. So it only counts; a pool's
numbers are copied before the first change after it, or when the scheduler reads them.
"""

from __future__ import annotations

import math

from sim.fast.events import read_clock
from sim.fast.jit import compiled
from sim.fast.state import State
from sim.model.repeats import repeats


@compiled
def report_all(s: State, upcoming: float) -> None:
    """Let every node report before the next event. Of several reports, only the last is ever seen."""
    w, interval = s.world[0], s.options[0].polling_interval
    while w.report_at <= upcoming and w.report_at < math.inf:
        if upcoming < math.inf:
            last = float(math.floor(upcoming / interval))
            if last > w.report_index and last * interval <= upcoming:
                w.report_index, w.report_at = last, last * interval
        w.now = w.report_at
        w.reports += 1
        w.reported_us = read_clock(s)
        w.reading_us += s.backends[len(s.backends) - 1].reports_after  # each node's reading is later
        w.report_index += 1
        w.report_at = w.report_index * interval if upcoming < math.inf else math.inf


@compiled
def keep_report(s: State, pool: int) -> None:
    """Copy what a pool's backend reported when all did, before it changes, or to read it."""
    if s.pools[pool].reports != s.world[0].reports:
        b = s.backends[s.pools[pool].backend]
        b.reported_us = s.world[0].reported_us + b.reports_after
        copy(s, pool, b.nodes - 1)


@repeats("cinder.volume.manager:VolumeManager", "publish_service_capabilities", "_append_volume_stats")
@compiled
def report(s: State, backend: int, node: int) -> None:
    """`VolumeManager.publish_service_capabilities` of one node; the scheduler keeps the last of a backend."""
    b = s.backends[backend]
    b.reported_us = read_clock(s)
    if s.options[0].schedules:
        for pool in range(b.first_pool, b.first_pool + b.pools):
            copy(s, pool, node)


@compiled
def copy(s: State, pool: int, node: int) -> None:
    p = s.pools[pool]
    p.reports = s.world[0].reports
    p.reported_physical = p.physical
    p.reported_provisioned = p.provisioned
    p.reported_allocated = s.allocated[pool, node].gib
