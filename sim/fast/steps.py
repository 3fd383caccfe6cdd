"""The steps of creates, noted one by one: what each waited for, and what it held meanwhile."""

from __future__ import annotations

from sim.fast.jit import compiled
from sim.fast.state import NONE, State

STEPS_MARGIN = 64  # more than a create takes before it waits or is over


@compiled
def note_step(s: State, v: int) -> None:
    """Note that a create of the trace goes on, before it does."""
    r, w = s.volumes[v], s.world[0]
    if r.row == NONE:
        return
    n = s.steps[w.steps]
    n.time, n.row, n.pool, n.node = w.now, r.row, r.pool, r.node
    n.phase, n.turns = r.phase, r.turns
    w.steps += 1
