"""How long a clone lasts: its seconds, and a full copy over the array's shared link, if it has one."""

from __future__ import annotations

from sim.fast.events import next_phase
from sim.fast.jit import compiled
from sim.fast.links import carry
from sim.fast.phases import COPIED, COPYING
from sim.fast.state import State


@compiled
def clone_lasts(s: State, v: int, after: int, seconds: float) -> bool:
    """Go to the phase `after` when the clone that has just begun is there."""
    r = s.volumes[v]
    r.copy_mib = s.world[0].copy_mib
    if r.copy_mib == 0:
        return next_phase(s, v, after, seconds)
    r.after = after
    return next_phase(s, v, COPYING, seconds)


@compiled
def copy(s: State, v: int) -> bool:
    """Copy the source's data."""
    r = s.volumes[v]
    b = s.backends[s.pools[r.pool].backend]
    return carry(s, v, COPIED, r.copy_mib, b.copy_mib_s, b.route)
