"""The nodes of a backend: whose turn it is, which locks a node takes, and what each node counts."""

from __future__ import annotations

from sim.fast.jit import compiled
from sim.fast.reports import keep_report
from sim.fast.state import State
from sim.model.repeats import repeats


@compiled
def take_turn(s: State, v: int) -> None:
    """Give an attempt to the next node of its backend."""
    r = s.volumes[v]
    b = s.backends[s.pools[r.pool].backend]
    r.node = b.next_node
    b.next_node += 1
    if b.next_node == b.nodes:
        b.next_node = 0


@repeats("cinder.volume.manager:VolumeManager", "_set_resource_host")
@compiled
def set_host(s: State, v: int) -> None:
    """The host of a clustered volume is now the node's."""
    r = s.volumes[v]
    if r.node > 0 and s.backends[s.pools[r.pool].backend].cluster:  # the first node's counts it no more
        s.pools[r.pool].rows -= 1


@repeats("cinder.db.api", "volume_data_get_for_host")
@compiled
def count_row(s: State, pool: int, node: int, count: int) -> None:
    """Count a volume of a pool; of a cluster's, the scheduler counts those of the first node's host alone."""
    p = s.pools[pool]
    if node == 0 or not s.backends[p.backend].cluster:
        p.rows += count


@repeats("cinder.volume.manager:VolumeManager", "_update_allocated_capacity")
@compiled
def allocate(s: State, pool: int, node: int, gib: int) -> None:
    """`_update_allocated_capacity`: a node's own count of a pool, which begins at no less than 0."""
    keep_report(s, pool)
    a = s.allocated[pool, node]
    a.gib = a.gib + gib if a.known else max(gib, 0)
    a.known = True


@compiled
def lock_row(s: State, v: int) -> int:
    """The row in `State.locks` of the images' locks on a request's node."""
    r = s.volumes[v]
    return s.lock_rows[r.pool, r.node]


@compiled
def fill_lock_row(s: State, v: int) -> int:
    """The row in `State.fill_locks` of the lock that a fill takes on a request's node."""
    r = s.volumes[v]
    return s.fill_lock_rows[r.pool, r.node]
