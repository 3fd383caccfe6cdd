"""Image-volumes made of users' volumes: `VolumeManager._clone_image_volume`, in two phases."""

from __future__ import annotations

from sim.fast.arrays import clone, find
from sim.fast.clone_turns import clone_lasts, clone_over, may_clone
from sim.fast.jit import compiled
from sim.fast.nodes import allocate, count_row
from sim.fast.phases import CLONE_IMAGE
from sim.fast.quotas import give_back, reserve
from sim.fast.reports import report
from sim.fast.state import NONE, OVER_QUOTA, State
from sim.model.repeats import repeats


@repeats("cinder.volume.manager:VolumeManager", "_clone_image_volume")
@compiled
def clone_image_volume(s: State, v: int, kind: int, tenant: int, after: int) -> bool:
    """Begin an image-volume of a kind. The phase `after` finds its slot in `fill`, or why there is none.

    `tenant`: whose quota it takes.
    """
    r = s.volumes[v]
    r.after = after
    if reserve(s, tenant, r.tier, r.size_gib) != 0:
        r.fill_error, r.phase = OVER_QUOTA, after
        return True
    allocate(s, r.pool, r.node, r.size_gib)
    count_row(s, r.pool, r.node, 1)
    r.fill_kind, r.fill_tenant, r.phase = kind, tenant, CLONE_IMAGE
    return True


@repeats("cinder.volume.manager:VolumeManager", "_clone_image_volume")
@compiled
def clone_to_fill(s: State, v: int) -> bool:
    """The clone, when it may begin."""
    r = s.volumes[v]
    backend = s.pools[r.pool].backend
    source = find(s, v, backend)
    if not may_clone(s, v, source):
        return False
    r.fill_error, seconds = clone(s, source, NONE, r.pool, r.size_gib, r.fill_kind, r.tier)
    if r.fill_error == 0:
        r.fill = s.world[0].made
        s.slots[r.fill].tenant, s.slots[r.fill].node = r.fill_tenant, r.node
        return clone_lasts(s, v, r.after, seconds)
    # Its row is deleted again, as if it were a volume.
    clone_over(s, v)
    give_back(s, r.fill_tenant, r.tier, r.size_gib)
    allocate(s, r.pool, r.node, -r.size_gib)
    count_row(s, r.pool, r.node, -1)
    report(s, backend, r.node)
    r.phase = r.after
    return True
