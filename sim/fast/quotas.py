"""Quotas of projects: who takes how much, and what is refused."""

from __future__ import annotations

from sim.fast.jit import compiled
from sim.fast.state import (
    ALL_GIGABYTES,
    ALL_VOLUMES,
    NONE,
    OF_TYPES,
    OVER_GIGABYTES,
    OVER_GIGABYTES_TYPE,
    OVER_SIZE,
    OVER_VOLUMES,
    OVER_VOLUMES_TYPE,
    PER_VOLUME,
    State,
)
from sim.model.repeats import repeats


@compiled
def limited(s: State, tenant: int) -> bool:
    """Whether what a project has counts: if none has a limit, nobody asks."""
    return s.options[0].quotas and tenant != NONE


@compiled
def take(s: State, tenant: int, tier: int, size_gib: int) -> None:
    """Count a volume of a project."""
    count(s, tenant, tier, 1, size_gib)


@repeats("cinder.db.api", "reservation_commit")
@compiled
def give_back(s: State, tenant: int, tier: int, size_gib: int) -> None:
    """The end of a delete: the volume counts no more."""
    count(s, tenant, tier, -1, -size_gib)


@compiled
def count(s: State, tenant: int, tier: int, volumes: int, gigabytes: int) -> None:
    if not limited(s, tenant):
        return
    of_type = OF_TYPES + 2 * tier
    s.quota_used[tenant, ALL_GIGABYTES] += gigabytes
    s.quota_used[tenant, ALL_VOLUMES] += volumes
    s.quota_used[tenant, of_type] += gigabytes
    s.quota_used[tenant, of_type + 1] += volumes


@repeats("cinder.quota:QuotaEngine", "reserve", "add_volume_type_opts")
@repeats("cinder.quota:DbQuotaDriver", "reserve", "_reserve")
@repeats("cinder.db.api", "quota_reserve")
@compiled
def reserve(s: State, tenant: int, tier: int, size_gib: int) -> int:
    """Take the quota of a volume. Returns the first quota, by name, that this exceeds, or 0."""
    if not limited(s, tenant):
        return 0
    of_type = OF_TYPES + 2 * tier
    if left(s, tenant, ALL_GIGABYTES) < size_gib:
        return OVER_GIGABYTES
    if left(s, tenant, of_type) < size_gib:
        return OVER_GIGABYTES_TYPE
    if left(s, tenant, ALL_VOLUMES) < 1:
        return OVER_VOLUMES
    if left(s, tenant, of_type + 1) < 1:
        return OVER_VOLUMES_TYPE
    take(s, tenant, tier, size_gib)
    return 0


@repeats("cinder.volume.api:API", "_extend")
@compiled
def reserve_gib(s: State, tenant: int, tier: int, gib: int) -> bool:
    """Take the quota of some more GiB of a volume, if there is so much."""
    if not limited(s, tenant):
        return True
    if left(s, tenant, ALL_GIGABYTES) < gib or left(s, tenant, OF_TYPES + 2 * tier) < gib:
        return False
    count(s, tenant, tier, 0, gib)
    return True


@compiled
def left(s: State, tenant: int, column: int) -> int:
    return s.quota_limits[tenant, column] - s.quota_used[tenant, column]


@repeats("cinder.volume.flows.api.create_volume:QuotaReserveTask", "execute")
@repeats("cinder.volume.flows.api.create_volume:QuotaCommitTask", "execute")
@repeats("cinder.quota:QuotaEngine", "limit_check", "commit")
@repeats("cinder.quota:DbQuotaDriver", "limit_check", "commit")
@compiled
def reserve_new(s: State, tenant: int, tier: int, size_gib: int) -> int:
    """Take the quota of a user's new volume, as the API does. Returns why it is refused, or 0."""
    if limited(s, tenant) and size_gib > s.quota_limits[tenant, PER_VOLUME]:
        return OVER_SIZE
    return reserve(s, tenant, tier, size_gib)


@compiled
def exceeded(s: State, error: int, tenant: int, tier: int) -> tuple[int, int]:
    """The quota that refuses a volume, and what is used of it."""
    of_type = OF_TYPES + 2 * tier
    column = PER_VOLUME
    if error == OVER_GIGABYTES:
        column = ALL_GIGABYTES
    elif error == OVER_GIGABYTES_TYPE:
        column = of_type
    elif error == OVER_VOLUMES:
        column = ALL_VOLUMES
    elif error == OVER_VOLUMES_TYPE:
        column = of_type + 1
    return s.quota_limits[tenant, column], s.quota_used[tenant, column]
