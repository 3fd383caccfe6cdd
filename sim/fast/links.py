"""Transfers over shared links (see sim/model/links.py), and the heap of each flow's streams.

The streams of a flow are volumes in a skew heap (Sleator and Tarjan 1986), the first to end on top. The
volumes are its nodes, so nothing is allocated, and a stream begins or ends in O(log n), amortized.
"""

from __future__ import annotations

import math

from sim.fast.events import TRANSFER, at_time
from sim.fast.jit import compiled
from sim.fast.state import NONE, State
from sim.model import links

advance = compiled(links.advance)
join = compiled(links.join)
leave = compiled(links.leave)
divide = compiled(links.divide)
plan = compiled(links.plan)


@compiled
def carry(s: State, v: int, phase: int, mib: float, own_mib_s: float, route: int) -> bool:
    """Go to a phase when so many MiB have crossed a route. Returns whether that is at once: it never is."""
    r, component = s.volumes[v], s.routes[route].component
    r.phase = phase
    advance(s, component, s.world[0].now)
    flow = join(s, route, mib, own_mib_s)
    f = s.flows[flow]
    if f.streams == 1:
        f.top = NONE
        s.world[0].flows += 1
    s.world[0].stamp += 1
    r.ends_mib, r.order = f.moved_mib + mib, s.world[0].stamp
    r.left = r.right = NONE
    f.top = merged(s, f.top, v)
    changed(s, component, flow)
    return False


@compiled
def changed(s: State, component: int, flow: int) -> None:
    """A stream of a flow has begun or ended: divide the links anew, and wait for the next end."""
    f = s.flows[flow]
    if f.top != NONE:
        f.first_end_mib = s.volumes[f.top].ends_mib
    divide(s, component)
    plan(s, component)
    if s.components[component].due < s.components[component].looks_at:
        wait(s, component)


@compiled
def wait(s: State, component: int) -> None:
    """Look again when the next stream of a component is due."""
    p = s.components[component]
    p.looks_at = max(p.due, s.world[0].now)
    at_time(s, p.looks_at, TRANSFER, component, NONE)


@compiled
def carried(s: State, component: int) -> int:
    """The volume whose stream ends now; NONE if none does."""
    p, now = s.components[component], s.world[0].now
    if p.looks_at != now:  # another event was earlier
        return NONE
    p.looks_at = math.inf
    if p.due_flow == NONE:
        return NONE
    if p.due > now:
        wait(s, component)
        return NONE
    advance(s, component, now)
    flow = p.due_flow
    f = s.flows[flow]
    f.moved_mib = f.first_end_mib
    v = f.top
    f.top = merged(s, s.volumes[v].left, s.volumes[v].right)
    leave(s, flow)
    if f.streams == 0:
        s.world[0].flows -= 1
    changed(s, component, flow)
    return v


@compiled
def before(s: State, v: int, other: int) -> bool:
    """Whether a stream ends before another; of two that end at once, the first to begin does."""
    r, q = s.volumes[v], s.volumes[other]
    return r.ends_mib < q.ends_mib or (r.ends_mib == q.ends_mib and r.order < q.order)


@compiled
def merged(s: State, v: int, other: int) -> int:
    """The heap of two heaps' streams: their right spines are merged, and children change sides on the way."""
    if v == NONE:
        return other
    if other == NONE:
        return v
    if before(s, other, v):
        v, other = other, v
    top = v
    while True:
        r = s.volumes[v]
        following = r.right
        r.right = r.left
        if following == NONE:
            r.left = other
            return top
        if before(s, other, following):
            following, other = other, following
        r.left = following
        v = following
