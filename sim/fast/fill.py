"""Image-volumes made of users' volumes."""

from __future__ import annotations

from sim.fast.arrays import clone, find
from sim.fast.jit import compiled
from sim.fast.nodes import allocate, count_row
from sim.fast.quotas import give_back, reserve
from sim.fast.scheduler import report
from sim.fast.state import NONE, OVER_QUOTA, State, Step
from sim.model.repeats import repeats


@repeats("cinder.volume.manager:VolumeManager", "_clone_image_volume")
@compiled
def clone_image_volume(s: State, v: int, kind: int, tenant: int) -> Step:
    """`VolumeManager._clone_image_volume`; the image-volume's slot is `world.made`.

    `tenant`: whose quota it takes.
    """
    r, w = s.volumes[v], s.world[0]
    if reserve(s, tenant, r.tier, r.size_gib) != 0:
        return OVER_QUOTA, 0.0
    backend = s.pools[r.pool].backend
    allocate(s, r.pool, r.node, r.size_gib)
    count_row(s, r.pool, r.node, 1)
    error, seconds = clone(s, find(s, v, backend), NONE, r.pool, r.size_gib, kind, r.tier)
    if error != 0:  # its row is deleted again, as if it were a volume
        give_back(s, tenant, r.tier, r.size_gib)
        allocate(s, r.pool, r.node, -r.size_gib)
        count_row(s, r.pool, r.node, -1)
        report(s, backend, r.node)
    else:
        s.slots[w.made].tenant, s.slots[w.made].node = tenant, r.node
    return error, seconds
