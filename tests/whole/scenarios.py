"""Small named scenarios, a feature or two each: where engine `cinder` and whole Cinder must agree."""

from __future__ import annotations

from typing import Any

from . import (  # noqa: F401 register their own
    growing_scenarios,
    node_scenarios,
    quota_scenarios,
    snapshot_scenarios,
    store_scenarios,
    upload_scenarios,
)
from .build import TIER, Builder, image, numbered
from .random_case import random_builder
from .registry import ALL, CASES, STRATEGIES, scenario, small

__all__ = ["CASES", "STRATEGIES"]

# The cache alone


@scenario("none", "cache-only")
def lru_by_count() -> Builder:
    b = Builder(*small()).backend("a", image_volume_cache_max_count=2)
    return b.creates("i0 i1 i2 i0 i0 i2 i1 i3 i1 i0 i2 i1", 30.37)


@scenario()
def lru_by_size() -> Builder:
    images = [image("one", 1), image("two", 2), image("three", 3), image("six", 6)]
    b = Builder(*images).backend("a", image_volume_cache_max_size_gb=4)
    return b.creates("one two three one six two three one six two one three", 150.37)


@scenario()
def lru_by_both() -> Builder:
    images = [image(f"i{n}", gib) for n, gib in enumerate((1, 1.5, 2, 0.4, 3, 1))]
    b = Builder(*images).backend("a", image_volume_cache_max_size_gb=6, image_volume_cache_max_count=3)
    return b.creates("i0 i1 i2 i3 i0 i4 i5 i0 i2 i3 i3 i1 i4 i0", 90.37)


@scenario()
def unlimited() -> Builder:
    return Builder(*small()).backend("a").creates("i0 i1 i2 i3 i0 i1 i2 i3", 25.37)


@scenario()
def larger_cache_fewer_hits() -> Builder:
    images = [image("i0", 1), image("i1", 6), image("i2", 4)]
    b = Builder(*images).backend("a", image_volume_cache_max_size_gb=4)
    return b.creates("i0 i1 i2 i0", 200.37)


@scenario("none", "cache-only")
def refused_image() -> Builder:
    """The undersized cache: four at once run one after another."""
    b = Builder(image("big", 5, size=2.5), image("i0")).backend(
        "a", image_volume_cache_max_size_gb=4, create_s=1.0, write_mib_s=355.55, extend_s=0
    )
    b.scenario["glance"] = {"streams": 16, "stream_mib_s": 100}
    return b.storm(0, 4, "big").create(50.11, "i0").create(300.3, "big").create(301.3, "i0")


@scenario(lock=("cloud", "node"))
def herd(lock: str) -> Builder:
    """First creates of one image on two tiers of two nodes, and hits behind them."""
    b = Builder(*small(2), tiers={"flash": TIER, "disk": TIER}, cinder={"lock_scope": lock})
    b.backend("a").backend("b", "disk", node="c2", clone_s=3.1, write_mib_s=150)
    for host, tier in (("a#p0", "flash"), ("b#p0", "disk"), ("a#p0", "flash")):
        b.storm(1.0, 2, "i0", host, volume_type=tier)
    b.create(5.3, "i1", "b#p0", volume_type="disk").create(6.7, "i1")
    b.create(40.9, "i0", "b#p0", volume_type="disk").create(41.3, "i0")
    return b.storm(55.5, 3, "i0").storm(55.5, 2, "i1", "b#p0", volume_type="disk")


@scenario()
def overshoot() -> Builder:
    """Six fills at once in a cache of two leave six entries, until the next fill."""
    b = Builder(*small(7)).backend("a", image_volume_cache_max_count=2)
    for number in range(6):
        b.create(0, f"i{number}")
    return b.create(60.3, "i2").create(100.7, "i6").create(150.9, "i0").create(151.2, "i6")


@scenario()
def several_pools() -> Builder:
    """Limits are enforced per pool."""
    b = Builder(*small()).backend("a", pools={"p0": {}, "p1": {}}, image_volume_cache_max_count=1)
    for number, name in numbered("i0 i0 i1 i0 i1 i1 i2 i0 i0 i2"):
        b.create(25.37 * number, name, f"a#p{number % 2}")
    return b


@scenario()
def cache_off_on_one_backend() -> Builder:
    b = Builder(*small(2)).backend("a").backend("b", image_volume_cache_enabled=False)
    for number in range(8):
        b.create(9.37 * number, f"i{number // 2 % 2}", "ab"[number % 2] + "#p0")
    return b


@scenario()
def timeless() -> Builder:
    """Nothing takes time: everything happens in the order of the trace."""
    nothing = dict.fromkeys(("create_s", "clone_s", "delete_s", "extend_s"), 0)
    b = Builder(*small(), glance={"stream_mib_s": None}).backend(
        "a", image_volume_cache_max_count=2, write_mib_s=None, convert_mib_s=None, **nothing
    )
    b.storm(1, 3, "i0").storm(1, 2, "i1").storm(1, 1, "i2").delete(1, "v0").storm(1, 2, "i0")
    return b.storm(2, 1, "i3").delete(2, "v3").storm(2, 2, "i1")


# Staleness


@scenario()
def stale() -> Builder:
    b = Builder(*small(2)).backend("a", pools={"p0": {}, "p1": {}})
    b.creates("i0 i0", 20.37).creates("i0 i0", 20.37, "a#p1", 5.11)
    b.event(60.1, "update_image", image_id="i0")
    b.creates("i0 i0 i1", 20.37, "a#p0", 61.1).creates("i0 i0", 20.37, "a#p1", 95.3)
    return b.event(160.1, "update_image", image_id="i0").creates("i0", 1, "a#p1", 160.2)


@scenario()
def update_during_a_fill() -> Builder:
    """Who read the metadata before the update and waited is served the old entry."""
    b = Builder(*small(1)).backend("a")
    b.storm(0.0, 3, "i0").event(4.3, "update_image", image_id="i0").storm(5.1, 2, "i0")
    b.create(30.7, "i0").event(40.9, "update_image", image_id="i0").storm(41.3, 3, "i0")
    return b.event(43.3, "update_image", image_id="i0").storm(44.3, 2, "i0").create(99.1, "i0")


# Limits of arrays


@scenario()
def clone_limit() -> Builder:
    b = Builder(*small(2)).backend("a", max_clones_per_volume=3)
    b.creates("i0 i0 i0 i0 i0 i0 i0 i0 i0 i0 i0", 20.37)
    return b.delete(131.1, "v1").delete(131.2, "v2").storm(250.7, 5, "i0").create(300.1, "i1")


@scenario("store-only", "cache-only", "combined")
def queues() -> Builder:
    """Clones of one volume one after another, on one stream; creates and deletes on two threads of a node."""
    b = Builder(*small(3), store={"home": "a#p0"}, nodes={"c1": {"executor_thread_pool_size": 2}})
    b.backend("a", clone_lock="source", clone_streams=1, delete_s=7, clone_s=3)
    b.storm(0.0, 3, "i0").storm(0.5, 2, "i1").delete(60.1, "v0").delete(60.2, "v3").storm(60.3, 4, "i0")
    b.creates("i2 i1 i0 i2", 0.37, start=70.3).delete(70.9, "v4").snapshot(71.1, "v5", "s")
    return b.storm(90.1, 3, "i2").delete(90.2, "v6").drop(91.3, "v5", "s").create(92.1, "i1")


@scenario("cache-only", "combined")
def clone_family_limit() -> Builder:
    """The user's first volume, the entry and its clones, and a snapshot are one family."""
    b = Builder(*small(2), store={"home": "a#p0"}).backend("a", clone_family_limit=5)
    b.creates("i0 i0 i0 i0 i0 i0 i0 i0 i0 i0 i0", 20.37).snapshot(50.3, "v1", "s")
    return b.delete(131.1, "v1").delete(131.2, "v2").storm(250.7, 5, "i0").create(300.1, "i1")


@scenario(delete=("allowed", "busy"))
def clone_limit_rescheduled(delete: str) -> Builder:
    b = Builder(*small(2)).backend(
        "a",
        pools={"p0": {"capacity_gib": 500}, "p1": {"capacity_gib": 490}},
        max_clones_per_volume=2,
        delete_with_clones=delete,
    )
    b.creates("i0 i0 i0 i0 i0 i0 i0 i0 i0 i0 i0", 20.37, "")
    return b.storm(300.7, 6, "i0", "").delete(330.1, "v0").delete(331.7, "v4")


@scenario()
def busy_deletes() -> Builder:
    """Evicted image-volumes with clones become orphans; a filled-from user volume stays."""
    b = Builder(*small()).backend("a", delete_with_clones="busy", image_volume_cache_max_count=1)
    b.creates("i0 i0 i1 i0 i2 i2 i1", 25.37).delete(24.1, "v0").delete(80.5, "v1")
    b.delete(170.3, "v2").create(175.1, "i3").delete(200.9, "v3")
    return b.create(230.1, "i0").delete(260.1, "v7").create(270.3, "i3")


@scenario("none", "cache-only")
def pool_volumes() -> Builder:
    """The cache does not give way; a fill that finds no place loses what it evicted."""
    b = Builder(*small()).backend("a", pools={"p0": {"max_volumes": 5}}, image_volume_cache_max_count=2)
    b.creates("i0 i1 i2 i0 i2 i3 i0", 25.37)
    b.delete(190.1, "v0").delete(190.7, "v3").creates("i1 i1 i3 i3 i0 i0", 20.37, start=200.1)
    return b


@scenario()
def array_volumes() -> Builder:
    b = Builder(*small()).backend("a", pools={"p0": {}, "p1": {"max_volumes": 3}}, max_volumes=7)
    for number, name in numbered("i0 i0 i1 i1 i0 i0 i2 i0 i1 i2"):
        b.create(22.37 * number, name, f"a#p{number % 2}")
    return b.delete(100.1, "v0").delete(150.3, "v1").delete(151.3, "v4")


@scenario(thin=(True, False))
def capacity(thin: bool) -> Builder:
    """Provisioned and physical space run out: in creates, copies, clones and extends."""
    images = [image("i0", 3), image("i1", 4, "qcow2"), image("i2", 2), image("i3", 7)]
    b = Builder(*images).backend(
        "a",
        pools={"p0": {"capacity_gib": 13 if thin else 40}},
        thin=thin,
        max_over_subscription_ratio=4.0,
    )
    for number, name in numbered("i0 i1 i0 i2 i2 i3 i0 i1 i3 i0"):
        b.create(90.37 * number, name, size=(10, 5, 8)[number % 3])
    return b.delete(400.1, "v0").delete(401.3, "v1").delete(750.7, "v2").storm(950.3, 3, "i2")


@scenario()
def extend_fails() -> Builder:
    """Room for the minimal volume and its clone, not for the size asked for."""
    b = Builder(image("i0", 2), image("i1", 3)).backend("a", pools={"p0": {"capacity_gib": 15}}, thin=False)
    b.create(0.0, "i0", size=12).create(60.1, "i0", size=5).create(80.3, "i1", size=9)
    return b.delete(150.1, "v0").delete(150.1, "v1").create(160.1, "i1", size=11)


@scenario("none", "cache-only")
def full_copies() -> Builder:
    b = Builder(image("i0", 2), image("i1", 1.5, "qcow2")).backend(
        "a",
        pools={"p0": {"capacity_gib": 12}},
        clone_mib_s=300,
        max_clones_per_volume=1,
    )
    b.creates("i0 i1 i0 i0 i1 i0 i1", 70.37).delete(500.1, "v0").delete(510.3, "v2")
    return b.storm(560.1, 3, "i0", size=5).storm(561.3, 2, "i1", size=4)


@scenario("none", "cache-only")
def dedupe() -> Builder:
    b = Builder(image("i0", 2), image("i1", 3)).backend(
        "a", pools={"p0": {"capacity_gib": 9}}, dedupe=True, image_volume_cache_max_count=1
    )
    b.creates("i0 i1 i0 i1 i0", 70.37).event(380.1, "update_image", image_id="i0")
    b.creates("i0 i1 i0 i1", 70.37, start=390.3).delete(391.1, "v0").delete(700.7, "v1")
    return b.creates("i0 i1", 70.37, start=710.3)


@scenario()
def volumes_of_the_images_size() -> Builder:
    """Nothing to extend: the volume that fills the cache is as large as it was asked for."""
    b = Builder(image("i0", 2), image("i1", 1, "qcow2")).backend("a")
    for number, name in numbered("i0 i1 i0 i1 i0"):
        b.create(60.37 * number, name, size=(2, 1)[number % 2])
    return b


# Quotas


@scenario()
def quota_volumes() -> Builder:
    b = Builder(*small(), cinder={"internal_tenant_quota_volumes": 2})
    b.backend("a", image_volume_cache_max_count=2).backend("b", delete_s=20)
    for number, name in numbered("i0 i0 i1 i1 i2 i0 i3 i1 i3 i2"):
        b.create(22.37 * number, name, "ab"[number % 2] + "#p0")
    return b.storm(300.1, 1, "i0").storm(300.1, 1, "i1").storm(300.1, 1, "i2")


@scenario()
def quota_gigabytes() -> Builder:
    images = [image("i0", 3), image("i1", 2), image("i2", 4), image("i3", 1)]
    b = Builder(*images, cinder={"internal_tenant_quota_gigabytes": 6})
    b.backend("a", image_volume_cache_max_size_gb=5)
    return b.creates("i0 i1 i3 i2 i0 i3 i1 i2 i0 i3", 80.37)


# The Cinder store, encrypted volumes, the driver's own clones


def mixed_images() -> list[dict[str, Any]]:
    return [image("i0", 1.2), image("i1", 2.5, "qcow2"), image("i2", 3), image("i3", 1, "vmdk")]


@scenario(*ALL, "replicated-store")
def store_at_home() -> Builder:
    b = Builder(*mixed_images(), store={"home": "a#p0"})
    b.backend("a", pools={"p0": {}, "p1": {}}, image_volume_cache_max_count=2)
    for number, name in numbered("i0 i0 i1 i2 i2 i3 i1 i1 i0 i0 i2 i3"):
        b.create(60.37 * number, name, f"a#p{number % 2}")
    return b


@scenario("store-only", "combined")
def store_on_hosts() -> Builder:
    """Image-volumes on two pools, private images, clone and volume limits that fall through."""
    images = [
        image("i0", store_hosts="a#p0;b#p0"),
        image("i1", 2, owner="alice", store_hosts="a#p0"),
        image("i2", store_hosts="b#p0", container_format="ovf"),
        image("i3"),
    ]
    b = Builder(*images).backend("a", max_clones_per_volume=2)
    b.backend("b", pools={"p0": {"max_volumes": 5}})
    b.creates("i0 i0 i0 i0", 20.37).creates("i0 i0 i2 i0 i3 i2", 20.37, "b#p0", 3.1)
    for number, project in enumerate(("alice", "bob", "", "alice", "alice")):
        b.create(150.3 + 40 * number, "i1", project=project)
    return b


@scenario("store-only", "combined", "cache-only", "replicated-store")
def store_quota() -> Builder:
    """Whose quota the image-volumes of the store take."""
    b = Builder(*small(), store={"home": "a#p0"}, cinder={"internal_tenant_quota_volumes": 3})
    b.backend("a", pools={"p0": {}, "p1": {}})
    return b.creates("i0 i1 i2 i0 i1 i2 i3 i3", 22.37, "a#p1")


@scenario("store-only", "cache-only", "combined")
def encrypted() -> Builder:
    b = Builder(*mixed_images(), store={"home": "a#p0"}).backend("a")
    for number, name in numbered("i0 i1 i0 i0 i1 i2 i2 i2"):
        b.create(40.37 * number, name, encrypted=number % 3 != 1)
    return b.delete(200.1, "v0").delete(201.1, "v1").storm(350.3, 3, "i1", encrypted=True)


@scenario("none", "cache-only", "combined")
def driver_clones_raw() -> Builder:
    b = Builder(*mixed_images(), store={"home": "b#p0"})
    b.backend("a", driver_clones_raw=True, pools={"p0": {"max_volumes": 7}}).backend("b")
    for number, name in numbered("i0 i1 i2 i0 i1 i3 i0 i2 i0"):
        b.create(50.37 * number, name, encrypted=number == 3)
    return b.delete(420.1, "v0").create(430.1, "i2").create(431.3, "i0", "b#p0")


# Deletes


@scenario(delete=("allowed", "busy"))
def deletes(delete: str) -> Builder:
    """Before the create ended, of failed and refused creates, of blank volumes."""
    b = Builder(image("i0"), image("i1", 2)).backend(
        "a", pools={"p0": {"max_volumes": 4}}, delete_with_clones=delete
    )
    b.create(0.0, "i0").delete(2.3, "v0").create(3.1, "i0").delete(3.1, "v1").create(4.1, "i0")
    b.create(30.1, "", size=3).create(30.2, "i1", size=1).delete(30.3, "v4").create(31.3, "i1")
    b.create(32.1, "i0").create(33.1, "i1").create(33.2, "i1").delete(34.1, "v6")
    b.delete(60.1, "v3").delete(70.1, "v5").delete(75.3, "v7")
    return b.create(90.3, "i1").create(91.3, "i0").delete(92.1, "v2").create(120.3, "i0")


@scenario("cache-only", "combined", "store-only", "replicated-store", delete=("allowed", "busy"))
def image_deleted(delete: str) -> Builder:
    """Creates under way go on; the entry stays, the store's volumes go unless busy."""
    b = Builder(*small(3), store={"home": "a#p1"}).backend(
        "a", pools={"p0": {}, "p1": {}}, delete_with_clones=delete, image_volume_cache_max_count=2
    )
    b.create(0.0, "i0").create(0.3, "i0", "a#p1").create(1.1, "i1").create(1.2, "i1")
    b.event(3.3, "delete_image", image_id="i0").create(4.1, "i0").create(5.1, "i1")
    b.event(20.3, "delete_image", image_id="i1").create(30.1, "i1").create(31.3, "i2", "a#p1")
    return b.create(60.3, "i2").create(90.1, "i0")


# The scheduler


@scenario("none", "cache-only", "combined")
def placement() -> Builder:
    """Three backends by free space, full sizes counted until the next report."""
    b = Builder(*small(), store={"home": "b#p0"}, cinder={"backend_stats_polling_interval": 30})
    b.backend("a", pools={"p0": {"capacity_gib": 100}, "p1": {"capacity_gib": 90}})
    b.backend("b", pools={"p0": {"capacity_gib": 105}}).backend("c", pools={"p0": {}}, thin=False)
    b.scenario["backends"]["c"]["pools"] = {"p0": {"capacity_gib": 60}}
    return b.creates("i0 i1 i0 i2 i0 i3 i1 i1 i0 i2 i0 i0", 9.37, "").storm(200.1, 5, "i0", "")


@scenario()
def placement_without_capacity() -> Builder:
    b = Builder(*small()).backend("a", pools={"p0": {}, "p1": {}}).backend("b")
    return b.creates("i0 i1 i0 i2 i0", 9.37, "").storm(100.1, 4, "i1", "").create(101.1, "i0")


@scenario(attempts=(1, 2, 3))
def rescheduling(attempts: int) -> Builder:
    """Limits that the scheduler does not see: it may well choose the same pool again."""
    b = Builder(*small(3), cinder={"scheduler_max_attempts": attempts})
    for name, capacity, volumes in (("a", 300, 3), ("b", 296, 6), ("c", 293, 5)):
        pool = {"capacity_gib": capacity, "max_volumes": volumes}
        b.backend(name, pools={"p0": pool}, max_over_subscription_ratio=1.0)
    b.creates("i0 i1 i0 i2 i1 i0", 15.37, "").storm(120.3, 6, "i0", "")
    return b.delete(150.1, "v0").delete(150.1, "v7").storm(170.3, 2, "i1", "").delete(180, "v11")


@scenario("none", "cache-only")
def image_deleted_before_the_next_attempt() -> Builder:
    """The next attempts ask Glance for it again, and fail."""
    b = Builder(image("i0", 2), image("i1"), cinder={"scheduler_max_attempts": 3})
    b.backend("a", pools={"p0": {"capacity_gib": 3.5, "max_volumes": 2}}, max_over_subscription_ratio=9.0)
    b.backend("b", pools={"p0": {"capacity_gib": 20, "max_volumes": 2}}, max_over_subscription_ratio=1.0)
    b.create(0, "i1", "").create(30.1, "i0", "").create(31.3, "i0", "a#p0").create(60.1, "i0", "")
    b.create(61.3, "i0", "").event(70.1, "delete_image", image_id="i0").create(71.3, "i1", "")
    return b.create(120.1, "i0", "").delete(130.1, "v1").create(140.3, "i1", "")


@scenario("none", "cache-only", ratio=(1.0, 1.5))
def thin_pools_that_are_full(ratio: float) -> Builder:
    """The scheduler refuses them, by their ratio or by what they have left of it."""
    b = Builder(*small(2), cinder={"backend_stats_polling_interval": 20})
    b.backend("a", pools={"p0": {"capacity_gib": 30}, "p1": {"capacity_gib": 26}})
    b.scenario["backends"]["a"] |= {"max_over_subscription_ratio": ratio, "reserved_percentage": 10}
    for number in range(9):
        b.create(11.37 * number, f"i{number % 2}", "", size=9 + number % 3)
    return b.delete(110.1, "v0").create(111.3, "i0", "").create(140.1, "i1", "", size=4)


@scenario()
def reports() -> Builder:
    """Deletes report at once; between reports the picture only shrinks."""
    b = Builder(image("i0", 4), image("i1", 6), cinder={"backend_stats_polling_interval": 300})
    b.backend("a", pools={"p0": {"capacity_gib": 50}}, max_over_subscription_ratio=1.0)
    b.backend("b", pools={"p0": {"capacity_gib": 40}}, max_over_subscription_ratio=1.2)
    for number in range(9):
        b.create(40.37 * number, f"i{number % 2}", "", size=11)
    b.delete(130.1, "v0").delete(170.3, "v1").delete(300, "v2").create(300, "i0", "", size=12)
    return b.create(330.3, "i1", "", size=20).create(600, "i0", "", size=20)


@scenario()
def reserved() -> Builder:
    b = Builder(image("i0", 2), image("i1", 3), cinder={"backend_stats_polling_interval": 25})
    pools = {"p0": {"capacity_gib": 60}, "p1": {"capacity_gib": 55}}
    b.backend("a", pools=pools, reserved_percentage=20, thin=False)
    b.backend(
        "b",
        pools={"p0": {"capacity_gib": 30}},
        max_over_subscription_ratio=2.5,
        reserved_percentage=10,
    )
    for number in range(12):
        b.create(13.37 * number, f"i{number % 2}", "", size=8 + number % 3)
    return b.delete(90.1, "v0").delete(91.3, "v3").storm(200.3, 3, "i0", "", size=9)


@scenario(capacity=(50, 0.004))
def all_reserved(capacity: float) -> Builder:
    """Cinder's CapacityFilter divides by zero on such a pool, whatever tier the create is for."""
    b = Builder(*small(2), tiers={"flash": TIER, "disk": TIER})
    b.backend("a", pools={"p0": {"capacity_gib": 60}})
    b.backend(
        "b",
        "disk",
        pools={"p0": {"capacity_gib": capacity}},
        reserved_percentage=100 if capacity == 50 else 0,
        max_over_subscription_ratio=1.0,
    )
    b.create(0, "i0", "").create(1.1, "i0").create(30.3, "i1", "", volume_type="disk")
    return b.delete(40.1, "v0").delete(41.3, "v1").create(70.3, "i0", "").create(80.3, "i0")


@scenario()
def two_deletes_at_once() -> Builder:
    """Three attempts on one pool; the delete after the second one ends while the user deletes the third's."""
    b = Builder(*small(1), cinder={"backend_stats_polling_interval": 300})
    b.backend("a", pools={"p0": {"capacity_gib": 100}}, max_over_subscription_ratio=1.0, delete_s=15.0)
    b.create(1.1, "", size=95).create(2.3, "i0", "", size=8)
    return b.delete(20.1, "v0").delete(41.3, "v1").create(60.1, "i0")


@scenario()
def two_tiers_of_one_backend() -> Builder:
    b = Builder(*small(), tiers={"flash": TIER, "disk": TIER})
    b.backend("a", ["flash", "disk"], pools={"p0": {"capacity_gib": 200}, "p1": {}})
    b.backend("b", "disk", pools={"p0": {"capacity_gib": 150}})
    for number, tier in enumerate(("flash", "disk", "disk", "flash", "disk", "disk", "flash")):
        b.create(8.37 * number, f"i{number % 2}", "", volume_type=tier)
    return b.delete(40.1, "v4").create(70.3, "i0", "b#p0", volume_type="disk")


@scenario()
def blank_volumes() -> Builder:
    b = Builder(*small(2)).backend("a", pools={"p0": {"capacity_gib": 30}}, thin=False)
    b.backend("b", pools={"p0": {"capacity_gib": 25}}, thin=False)
    b.create(0, "", "", size=8).create(1.1, "i0", "").create(2.3, "", size=9).create(20.1, "i0", "")
    b.delete(40.1, "v0").create(41.3, "", "", size=15).create(70.1, "i0", "")
    return b.create(90.3, "i1")


WEIGHERS = ["CapacityWeigher", "AllocatedCapacityWeigher", "VolumeNumberWeigher"]
WEIGHING: dict[str, dict[str, Any]] = {
    "allocated": {"scheduler_default_weighers": WEIGHERS[1:2]},
    "number": {"scheduler_default_weighers": WEIGHERS[2:]},
    "stack": {"capacity_weight_multiplier": -1.0},
    "stack_by_number": {"scheduler_default_weighers": WEIGHERS[2:], "volume_number_multiplier": 0.7},
    "all": {"scheduler_default_weighers": WEIGHERS, "capacity_weight_multiplier": -0.5},
    "stochastic": {"scheduler_weight_handler": "StochasticHostWeightHandler"},
}


@scenario("cache-only", "combined", how=tuple(WEIGHING))
def weighers(how: str) -> Builder:
    """Pools of three sizes and one without a capacity; image-volumes, failed and deleted volumes count."""
    b = Builder(*small(), cinder=WEIGHING[how], store={"home": "a#p0"})
    b.backend("a", pools={"p0": {"capacity_gib": 60}, "p1": {"capacity_gib": 90, "max_volumes": 4}})
    b.backend("b", pools={"p0": {"capacity_gib": 75}}, max_clones_per_volume=2, delete_with_clones="busy")
    b.backend("c", pools={"p0": {}})
    b.creates("i0 i1 i0 i2 i0 i3 i1 i0", 11.37, "").storm(100.1, 5, "i0", "")
    for number in (0, 2, 3, 9):
        b.delete(160.1 + number, f"v{number}")
    return b.creates("i0 i1 i2 i3 i0 i0 i1", 7.37, "", start=180.3)


@scenario(multiplier=(0.0, -1.0))
def no_finite_capacity(multiplier: float) -> Builder:
    """Where it does not spread, CapacityWeigher raises if no pool that passes has a capacity."""
    b = Builder(*small(), cinder={"capacity_weight_multiplier": multiplier})
    return b.backend("a").backend("b").create(0, "i0", "").create(1.1, "i1", "b#p0")


@scenario("none", "cache-only", placed=("host", "scheduler"))
def creates_without_an_image(placed: str) -> Builder:
    """Image-volumes that outlive their users hold the places that creates without an image need."""
    b = Builder(*small(3)).backend(
        "a", pools={"p0": {"max_volumes": 4}}, create_s=1, clone_s=2, write_mib_s=100, delete_s=0
    )
    host = {"host": "a#p0", "scheduler": ""}[placed]
    for number in range(3):
        b.create(1000 * number, f"i{number}", host).delete(1000 * number + 900, f"v{number}")
    for number in range(4):
        b.create(6000 + number, "", host)
    return b


@scenario("cache-only", placed=("host", "first_host"))
def history_at_the_clone_limit(placed: str) -> Builder:
    """A history tells pools of creates, but no cloud pins them: at the clone limit they are tried again."""
    b = Builder(*small(1)).backend("a", max_clones_per_volume=3, create_s=1, clone_s=2, write_mib_s=100)
    for number in range(9):
        b.create(100 * number, "i0", **({"host": ""} | {placed: "a#p0"}))
    return b


@scenario("none", "cache-only", attempts=(1, 2, 3))
def first_hosts(attempts: int) -> Builder:
    """Pools that the scheduler would not choose, or that refuse: the picture counts them."""
    b = Builder(*small(), cinder={"scheduler_max_attempts": attempts, "backend_stats_polling_interval": 600})
    b.backend(
        "a", pools={"p0": {"capacity_gib": 60}, "p1": {"capacity_gib": 90, "max_volumes": 3}}, thin=False
    )
    b.backend("b", pools={"p0": {"capacity_gib": 75}}, node="c2", max_clones_per_volume=1, thin=False)
    for number in range(12):
        host = ("a#p1", "b#p0", "", "a#p0", "b#p0", "")[number % 6]
        b.create(7.37 * number, f"i{number % 3}", "", size=12, first_host=host)
    return b.create(200.3, "", "", size=30, first_host="a#p0").create(300, "i0", "", first_host="b#p0")


# Availability zones


def two_zones(**cinder: Any) -> Builder:
    """Two small backends in nova, one in az1 whose array refuses a third volume."""
    b = Builder(*small(), cinder={"backend_stats_polling_interval": 300, **cinder})
    b.backend("a", pools={"p0": {"capacity_gib": 100}, "p1": {"capacity_gib": 70}}, thin=False)
    b.backend("b", pools={"p0": {"capacity_gib": 305, "max_volumes": 2}}, availability_zone="az1", thin=False)
    return b.backend("c", pools={"p0": {"capacity_gib": 300}}, availability_zone="az1", thin=False)


@scenario("none", "cache-only", "combined", attempts=(1, 3))
def zones_with_reschedules(attempts: int) -> Builder:
    """The heaviest pool refuses: the next attempt is in the same zone, also that of a history."""
    b = two_zones(scheduler_max_attempts=attempts)
    b.scenario["store"] = {"home": "a#p0"}
    for number in range(10):
        zone = ("", "az1", "nova", "az1", "az1")[number % 5]
        b.create(7.37 * number, f"i{number % 3}", "", availability_zone=zone)
    b.create(90.1, "i0", "", availability_zone="az1", first_host="b#p0")
    return b.create(91.1, "", "", availability_zone="az1").delete(120.1, "v1").create(130.1, "i0", "c#p0")


@scenario("cache-only", default=("nova", "az1", "gone"))
def default_zones(default: str) -> Builder:
    """What an empty cell means; an unknown default refuses whoever asks for none, pinned or not."""
    b = two_zones(default_availability_zone=default)
    b.create(0, "i0", "").create(1.1, "i0", "a#p0").create(2.1, "", "").create(3.1, "i0", "", 10)
    b.create(4.1, "i0", "", availability_zone="nova").create(5.1, "i0", "", availability_zone="az1")
    return b.delete(60.1, "v0").delete(61.1, "v4").create(90.1, "i0", "").create(91.1, "i1", "b#p0")


@scenario("cache-only")
def a_full_zone() -> Builder:
    """Nothing of another zone helps; the picture of the full pool counts what was placed."""
    b = two_zones()
    for number in range(4):
        b.create(1.1 * number, f"i{number}", "", 45, availability_zone="nova")
    return b.create(60.1, "i0", "", 45).create(61.1, "i0", "", 45, availability_zone="az1")


@scenario("cache-only")
def zones_refused_by_the_api() -> Builder:
    """No attempt and no room; the image is checked first; nova is known though no backend has it."""
    b = Builder(*small()).backend("a", pools={"p0": {"capacity_gib": 60}}, availability_zone="az1")
    b.create(0, "i0", "", availability_zone="az9").create(1.1, "i0", "a#p0", availability_zone="az9")
    b.create(2.1, "", "", availability_zone="az9").create(3.1, "i0", "", 1, availability_zone="az9")
    b.create(4.1, "i0", "", availability_zone="nova").create(5.1, "i0", "").create(6.1, "i0", "a#p0")
    b.delete(30.1, "v0").delete(31.1, "v2")
    return b.create(40.1, "i0", "", availability_zone="az1").create(41.1, "", "", availability_zone="az1")


@scenario("cache-only")
def a_pool_without_room_breaks_its_zone() -> Builder:
    """CapacityFilter divides by zero for a pool of any volume type, but only in the zone asked for."""
    b = Builder(*small(), tiers={"flash": TIER, "disk": TIER}).backend(
        "a", pools={"p0": {"capacity_gib": 60}}
    )
    b.backend("b", pools={"p0": {"capacity_gib": 60}}, availability_zone="az1")
    b.backend("c", "disk", {"p0": {"capacity_gib": 9}}, availability_zone="az1", reserved_percentage=100)
    b.create(0, "i0", "").create(1.1, "i0", "", availability_zone="az1")
    return b.create(2.1, "i0", "", availability_zone="az1", first_host="b#p0")


# Filters and weighers that are not the default


FILTERS = ("AvailabilityZoneFilter", "CapacityFilter", "CapabilitiesFilter")
SCHEDULING: dict[str, dict[str, Any]] = {
    "attempted": {"scheduler_default_filters": [*FILTERS, "IgnoreAttemptedHostsFilter"]},
    "driver": {"scheduler_default_filters": [*FILTERS, "DriverFilter"]},
    "goodness": {"scheduler_default_weighers": ["GoodnessWeigher"]},
    "both": {
        "scheduler_default_filters": ["DriverFilter", *FILTERS],
        "scheduler_default_weighers": ["CapacityWeigher", "GoodnessWeigher", "ChanceWeigher"],
    },
    "chance": {"scheduler_default_weighers": ["ChanceWeigher"]},
    "by_hints": {"scheduler_default_filters": ["JsonFilter", "SameBackendFilter", *FILTERS]},
    "none": {"scheduler_default_filters": [], "scheduler_default_weighers": []},
}


@scenario("cache-only", how=tuple(SCHEDULING))
def scheduling(how: str) -> Builder:
    """Functions of what is asked for, of the report and of the picture, one that fails, and none."""
    b = Builder(*small(), tiers={"flash": TIER, "disk": TIER})
    b.scenario["cinder"] = {"backend_stats_polling_interval": 45, **SCHEDULING[how]}
    b.backend(
        "a",
        pools={"p0": {"capacity_gib": 105, "max_volumes": 2}, "p1": {"capacity_gib": 100}},
        thin=False,
        filter_function="volume.size < 20 and stats.free_capacity_gb > 30",
        goodness_function="capabilities.free_capacity_gb / 2",
    )
    b.backend("b", pools={"p0": {"capacity_gib": 95}}, thin=False, goodness_function="volume.size > 10")
    b.backend("c", pools={"p0": {"capacity_gib": 90}}, thin=False, filter_function="stats.nothing > 1")
    b.backend("d", "disk", pools={"p0": {"capacity_gib": 120}}, thin=False)
    for number in range(12):
        b.create(8.37 * number, f"i{number % 3}", "", (10, 10, 12, 25)[number % 4])
    return b.delete(110.1, "v0").delete(111.3, "v4").creates("i0 i1 i2 i0", 9.37, "", start=130.3)


# Waiting


@scenario("none", "cache-only", streams=(1, 2))
def glance_streams(streams: int) -> Builder:
    b = Builder(*small(), glance={"streams": streams, "stream_mib_s": 75}).backend("a")
    b.creates("i0 i1 i2 i0 i1", 1.37)
    return b.storm(100.1, 2, "i3").storm(100.1, 1, "i0").storm(110.3, 2, "i2", encrypted=True)


@scenario("none", "cache-only", streams=(1, 2))
def write_streams(streams: int) -> Builder:
    images = [image(f"i{n}", 1 + n, "qcow2" if n % 2 else "raw") for n in range(4)]
    b = (
        Builder(*images)
        .backend("a", write_streams=streams, write_mib_s=60)
        .backend("b", write_streams=1, write_mib_s=90)
    )
    b.creates("i0 i1 i2 i3 i1", 2.37).creates("i0 i1 i2 i3", 2.37, "b#p0", 0.7)
    return b.storm(300.1, 3, "i0")


# What exists at the start


@scenario("none", "cache-only", "combined")
def initial_state() -> Builder:
    b = Builder(*small(), store={"home": "a#p0"}).backend(
        "a", pools={"p0": {"max_volumes": 11}, "p1": {}}, image_volume_cache_max_count=2
    )
    b.initial = [
        {"kind": "volume", "volume_id": "u0", "image_id": "i0", "size_gib": 5, "host": "a#p0"},
        {"kind": "volume", "volume_id": "u1", "image_id": "", "size_gib": 7, "host": "a#p1"},
        *(
            {
                "kind": "cache",
                "volume_id": f"c{n}",
                "image_id": f"i{n}",
                "size_gib": 1,
                "host": "a#p0",
                "last_used": used,
            }
            for n, used in enumerate((-100, -50.5, -200))
        ),
    ]
    b.creates("i1 i3 i0 i2 i1", 25.37).creates("i0 i0", 25.37, "a#p1", 4.3)
    return b.delete(60.1, "u0").delete(61.3, "u1").creates("i1 i3 i2", 25.37, start=150.3)


@scenario("cache-only", "combined", seed=tuple(range(5)))
def mixture(seed: int) -> Builder:
    return random_builder(seed)
