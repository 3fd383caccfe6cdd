"""Named scenarios of uploads whose image-volumes grow, because Glance does not know the size."""

from __future__ import annotations

from typing import Any

from .build import TIER, Builder
from .registry import scenario, small
from .upload_scenarios import uploaded


def growing(*formats: str, gib: float = 3, of_b: dict[str, Any], **more: Any) -> Builder:
    """Uploads into a store whose image-volumes the scheduler places on backend `b`, of volume type disk."""
    b = Builder(
        *small(1),
        *uploaded(*formats, gib=gib, size=gib),
        **{"tiers": {"flash": TIER, "disk": TIER}, "store": {"volume_type": "disk"}, **more},
    )
    return b.backend("a", read_mib_s=500).backend("b", "disk", **of_b).create(0, "i0")


@scenario("combined", extend_s=(0.7, 300.5, 330))
def image_volume_grows(extend_s: float) -> Builder:
    """Each GiB waits for an extension, which holds the stream; after 300 s Glance gives up, and it stays."""
    glance = {"streams": 1, "stream_mib_s": 75}
    b = growing("raw", "qcow2", "raw", "raw", gib=2.6, of_b={"extend_s": extend_s}, glance=glance)
    b.create(0.3, "i0").upload(40.1, "v0", "n0").upload(40.7, "v1", "n1").create(
        45.1, "i0", "b#p0", volume_type="disk"
    )
    b.event(46.3, "delete_image", image_id="n1").delete(47.3, "v1")
    b.create(1500.1, "n0", "", volume_type="disk").upload(1600.1, "v0", "n2").create(
        1605.1, "i0", "b#p0", volume_type="disk"
    )
    return b.create(3000.1, "n2", "", volume_type="disk").event(3100.1, "delete_image", image_id="n2")


@scenario("combined", limit=("gigabytes", "gigabytes_disk"))
def image_volume_over_quota(limit: str) -> Builder:
    """Of the project that the store is in: Glance fails, and deletes the volume, which gives it back."""
    of_type, in_all = {"internal_tenant_quotas": {limit: 2}}, {"internal_tenant_quota_gigabytes": 3}
    cinder = {"internal_tenant_owns_store": True, **(in_all if limit == "gigabytes" else of_type)}
    b = growing("raw", "qcow2", "raw", gib=3.2, of_b={"extend_s": 0.2}, cinder=cinder)
    b.upload(40.1, "v0", "n0").create(90.1, "i0", "b#p0", volume_type="disk").upload(150.1, "v0", "n1")
    return b.create(300.1, "n0", "", volume_type="disk").upload(310.1, "v0", "n2")


@scenario("combined", full=("scheduler", "array"))
def image_volume_has_no_room(full: str) -> Builder:
    """The scheduler finds no space, so that the volume is as before; or the array has none: an error."""
    b = growing(
        *("raw", "raw", "qcow2"),
        of_b={
            "pools": {"p0": {"capacity_gib": 12}, "p1": {"capacity_gib": 9}},
            "max_over_subscription_ratio": 1.0,
            "thin": full == "array",
        },
        cinder={"backend_stats_polling_interval": 1000 if full == "array" else 60},
    )
    b.create(0.1, "i0").create(5.1, "", "b#p0", size=7, volume_type="disk")
    b.create(6.1, "", "b#p1", size=8, volume_type="disk")
    b.upload(70.1, "v0", "n0").create(71.3, "", "b#p0", size=3, volume_type="disk")
    b.upload(72.1, "v1", "n1").create(180.1, "i0", "", volume_type="disk", size=1).delete(190.3, "v2")
    b.upload(200.3, "v0", "n2").create(1300.1, "n2", "", volume_type="disk", size=3)
    return b.create(1310.1, "n0", "", volume_type="disk", size=3)


@scenario("combined", threads=(2, 3))
def image_volume_waits_for_a_thread(threads: int) -> Builder:
    """Uploads have the threads of its service, until Glance gives up: then it is extended, and stays."""
    node = {"executor_thread_pool_size": threads}
    b = growing("raw", "raw", gib=2.2, of_b={"node": "c2", "extend_s": 1.3}, nodes={"c2": node})
    b.create(5.1, "i0", "b#p0", volume_type="disk").create(6.1, "i0", "b#p0", volume_type="disk")
    b.upload(60.1, "v1", "n0").upload(64.1, "v2", "n1").create(65.3, "", "b#p0", volume_type="disk")
    b.delete(70.1, "v0").create(900.1, "n0", "", volume_type="disk")
    return b.create(901.3, "n1", "", volume_type="disk")


@scenario("combined", broken=("zone", "weigher"))
def image_volume_stays_extending(broken: str) -> Builder:
    """The scheduler raises an exception: the volume stays as it is, and cannot be deleted.

    No zone is asked for, so that `CapacityFilter` meets the pool of another one, on which it divides by 0.
    `CapacityWeigher` that stacks finds no finite capacity once all that is finite is full.
    """
    cinder: dict[str, Any] = {"backend_stats_polling_interval": 20}
    pools: dict[str, Any] = {"p0": {"capacity_gib": 90}}
    if broken == "weigher":
        cinder["capacity_weight_multiplier"] = -1.0
        pools = {"p0": {}, "p1": {"capacity_gib": 4}}
    b = growing("raw", "raw", gib=2.5, of_b={"pools": pools, "thin": False}, cinder=cinder)
    if broken == "zone":
        limits = {"availability_zone": "far", "max_over_subscription_ratio": 1.0}
        b.backend("c", "disk", pools={"p0": {"capacity_gib": 0.004}}, **limits)
    b.upload(40.1, "v0", "n0").create(41.3, "", "b#p0" if broken == "zone" else "b#p1", 3, volume_type="disk")
    return b.create(500.1, "n0", "", volume_type="disk").upload(510.1, "v0", "n1")


@scenario("combined", handler=("OrderedHostWeightHandler", "StochasticHostWeightHandler"))
def image_volumes_grow_on_many_pools(handler: str) -> Builder:
    """Nodes of a cluster, lots that are drawn, and what the scheduler counts of each GiB."""
    b = growing(
        *["raw"] * 6,
        of_b={
            "pools": {f"p{number}": {"capacity_gib": 60 + number} for number in range(3)},
            "nodes": ["c1", "c2"],
            "cluster": True,
            "extend_s": 2.3,
        },
        cinder={
            "scheduler_weight_handler": handler,
            "scheduler_default_weighers": ["CapacityWeigher", "AllocatedCapacityWeigher"],
            "backend_stats_polling_interval": 30,
        },
    )
    b.storm(0.3, 5, "i0")
    for number in range(6):
        b.upload(40.1 + 17.37 * number, f"v{number}", f"n{number}")
        b.create(43.3 + 11.37 * number, "i0", "", 8, volume_type="disk")
        b.create(300.3 + 11.37 * number, f"n{number}", "", 8, volume_type="disk")
    return b.event(500.1, "delete_image", image_id="n3").create(510.1, "n1", "", volume_type="disk")
