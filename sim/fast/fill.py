"""Image-volumes made of users' volumes."""

from __future__ import annotations

from sim.fast.arrays import clone, find
from sim.fast.jit import compiled
from sim.fast.nodes import allocate, count_row
from sim.fast.scheduler import report
from sim.fast.state import NONE, OVER_QUOTA, State, Step
from sim.model.repeats import repeats


@repeats("cinder.volume.manager:VolumeManager", "_clone_image_volume")
@repeats("cinder.db.api", "quota_reserve")
@compiled
def clone_image_volume(s: State, v: int, kind: int, tenant: bool) -> Step:
    """`VolumeManager._clone_image_volume`; the image-volume's slot is `world.made`.

    `tenant`: it belongs to the internal tenant.
    """
    r, w, o = s.volumes[v], s.world[0], s.options[0]
    if tenant:
        if w.quota_volumes + 1 > o.quota_volumes or w.quota_gigabytes + r.size_gib > o.quota_gigabytes:
            return OVER_QUOTA, 0.0
        w.quota_volumes += 1
        w.quota_gigabytes += r.size_gib
    backend = s.pools[r.pool].backend
    allocate(s, r.pool, r.node, r.size_gib)
    count_row(s, r.pool, r.node, 1)
    error, seconds = clone(s, find(s, v, backend), NONE, r.pool, r.size_gib, kind, r.tier)
    if error != 0:  # its row is deleted again, as if it were a volume
        if tenant:
            w.quota_volumes -= 1
            w.quota_gigabytes -= r.size_gib
        allocate(s, r.pool, r.node, -r.size_gib)
        count_row(s, r.pool, r.node, -1)
        report(s, backend, r.node)
    else:
        s.slots[w.made].tenant, s.slots[w.made].node = tenant, r.node
    return error, seconds
