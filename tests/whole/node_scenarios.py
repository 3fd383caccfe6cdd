"""Named scenarios of backends with several nodes, clustered or not, and of clones across pools."""

from __future__ import annotations

from typing import Any

from .build import TIER, Builder, image, numbered
from .registry import scenario, small

BY_NODE = {"lock_scope": "node"}


@scenario(cluster=(True, False), lock=("node", "cloud"))
def several_nodes(cluster: bool, lock: str) -> Builder:
    """With a lock a node, two nodes fill one image at once: duplicates, of which one takes all hits."""
    b = Builder(*small(), cinder={"lock_scope": lock})
    b.backend("a", pools={"p0": {}, "p1": {}}, nodes=["c1", "c2"], cluster=cluster)
    b.storm(0, 5, "i0").create(3.1, "i1", "a#p1").storm(3.1, 2, "i2").create(3.3, "i1", "a#p1")
    b.create(40.3, "i0").create(50.3, "i0").delete(51.1, "v0").create(60.3, "i0").delete(61.1, "v1")
    return b.storm(80.7, 3, "i3", "a#p1").create(81.9, "i2").create(120.1, "i3", "a#p1")


@scenario("cache-only", "combined")
def the_later_fill_finds_the_entry() -> Builder:
    """The second node's download ends when the first one's entry is there: it fills nothing."""
    b = Builder(*small(1), cinder=BY_NODE).backend("a", nodes=["c1", "c2"], cluster=True)
    return b.create(0, "i0").create(3.7, "i0").create(40.1, "i0").create(50.3, "i0").delete(51.1, "v0")


@scenario(cluster=(True, False))
def limit_of_one_holds_two(cluster: bool) -> Builder:
    """Two fills at once find room for each of them; the next fill evicts both."""
    b = Builder(*small(), cinder=BY_NODE)
    b.backend("a", nodes=["c1", "c2"], cluster=cluster, image_volume_cache_max_count=1)
    return (
        b.storm(0, 2, "i0").creates("i0 i1 i1", 30.37, start=40.1).storm(150.3, 4, "i2").create(190.3, "i3")
    )


@scenario()
def gigabytes_with_duplicates() -> Builder:
    """Each duplicate counts; the ones that take no hits go first."""
    images = [image("i0", 2), image("i1", 1), image("i2", 3)]
    b = Builder(*images, cinder=BY_NODE)
    b.backend("a", nodes=["c1", "c2", "c3"], cluster=True, image_volume_cache_max_size_gb=6)
    b.storm(0, 3, "i0").create(60.3, "i0").create(70.3, "i1").storm(100.3, 2, "i0")
    return b.create(150.3, "i2").create(250.3, "i0").create(300.3, "i1")


@scenario(cluster=(True, False))
def stale_duplicates(cluster: bool) -> Builder:
    """Each look-up drops one: a create drops up to three."""
    nodes = [f"c{number}" for number in range(5)]
    b = Builder(*small(2), cinder=BY_NODE).backend("a", nodes=nodes, cluster=cluster)
    b.storm(0, 5, "i0").event(30.1, "update_image", image_id="i0").create(31.3, "i0")
    b.event(60.1, "update_image", image_id="i0").create(61.3, "i0").create(70.9, "i0").create(99.9, "i0")
    return b.storm(120.3, 4, "i1").event(123.3, "update_image", image_id="i1").storm(124.1, 3, "i1")


@scenario(host=("a#p0", ""))
def clone_limit_with_duplicates(host: str) -> Builder:
    """Only the entry at its limit is dropped; the next create uses the other."""
    b = Builder(*small(2), cinder=BY_NODE)
    b.backend("a", nodes=["c1", "c2"], cluster=True, max_clones_per_volume=2)
    return b.storm(0, 2, "i0", host).creates("i0 i0 i0 i0 i0 i0 i0 i0", 20.37, host, 30.3)


@scenario()
def nodes_in_common() -> Builder:
    """A node's lock files are for all its backends: fills on one wait for those on the other."""
    b = Builder(*small(3), tiers={"flash": TIER, "disk": TIER}, cinder=BY_NODE)
    b.backend("a", nodes=["c1", "c2", "c3"], cluster=True)
    b.backend("b", "disk", nodes=["c2", "c1"], clone_s=3.1, write_mib_s=150).backend("c", node="c3")
    for time in (0.0, 0.0, 1.3):
        b.storm(time, 2, "i0").create(time, "i0", "b#p0", volume_type="disk").create(time, "i0", "c#p0")
    b.storm(60.3, 2, "i1", "b#p0", volume_type="disk").storm(61.1, 3, "i1").create(61.3, "i1", "c#p0")
    return b.create(90.3, "i2").event(99.1, "update_image", image_id="i0").storm(100.3, 3, "i0")


@scenario("cache-only", "combined", cluster=(True, False))
def placed_on_nodes(cluster: bool) -> Builder:
    """Placed, rescheduled and pinned creates take a turn; those that are refused or not placed take none."""
    b = Builder(*small(3), store={"home": "a#p0"}, cinder={**BY_NODE, "backend_stats_polling_interval": 30})
    pools = {"p0": {"capacity_gib": 160, "max_volumes": 6}, "p1": {"capacity_gib": 150}}
    b.backend("a", pools=pools, nodes=["c1", "c2", "c3"], cluster=cluster, max_over_subscription_ratio=1.0)
    b.backend("b", pools={"p0": {"capacity_gib": 155, "max_volumes": 4}}, nodes=["c2", "c1"])
    b.scenario["backends"]["b"] |= {"cluster": not cluster, "max_over_subscription_ratio": 1.0}
    b.storm(0, 6, "i0", "").create(1.1, "i1", size=500, host="").create(1.3, "i1", "a#p1")
    b.creates("i1 i2 i0 i1", 9.37, "", 20.1).create(50.1, "i0", "").delete(51.3, "v0").delete(52.3, "v7")
    b.create(60.3, "i2", first_host="b#p0", host="").create(61.1, "i2", first_host="a#p0", host="")
    return b.storm(80.3, 5, "i1", "").delete(90.1, "v2").storm(91.3, 2, "i0", "")


@scenario("none", "cache-only", weigher=("AllocatedCapacityWeigher", "VolumeNumberWeigher"))
def nodes_weighed(weigher: str) -> Builder:
    """What a node has allocated is its own count, and a cluster's volumes are counted by its first host."""
    b = Builder(*small(2), cinder={"scheduler_default_weighers": [weigher]})
    b.scenario["cinder"] |= BY_NODE | {"backend_stats_polling_interval": 20}
    b.backend("a", pools={"p0": {}, "p1": {}}, nodes=["c1", "c2"], cluster=True)
    b.backend("b", nodes=["c1", "c2", "c3"]).backend("c", pools={"p0": {"max_volumes": 4}}, cluster=True)
    for number, name in numbered("i0 i0 i1 i0 i1 i1 i0 i0 i1 i0 i1 i0 i0 i1 i1 i0"):
        b.create(13.37 * number, name, "", size=5 + number % 4)
    for number in (0, 3, 4, 7, 9):
        b.delete(120.1 + number, f"v{number}")
    return b.storm(230.3, 6, "i1", "", size=3)


@scenario("store-only", "combined", cluster=(True, False))
def uploads_on_nodes(cluster: bool) -> Builder:
    """A no-op upload's image-volume belongs to the pool's cluster, whichever node makes the clones."""
    images = [*small(2), image("n0"), image("n1", 1, "qcow2"), image("n2")]
    b = Builder(*images, upload="no-op", store={"home": "a#p1"}, cinder=BY_NODE)
    b.backend("a", pools={"p0": {}, "p1": {}}, nodes=["c1", "c2"], cluster=cluster, delete_with_clones="busy")
    b.storm(0, 3, "i0").upload(30.1, "v1", "n0").upload(31.1, "v0", "n1").upload(32.1, "v2", "n2")
    b.storm(50.3, 3, "n0").create(55.3, "n0", "a#p1").create(56.3, "n2").create(57.3, "n1")
    b.delete(70.1, "v3").delete(71.1, "v1").event(80.3, "delete_image", image_id="n0")
    return b.create(90.3, "n1").create(91.3, "n2", "a#p1").create(92.3, "i1", "a#p1")


# Clones across pools


def across(b: Builder, name: str = "a", **more: Any) -> Builder:
    """A backend of two pools, whose driver clones across pools."""
    return b.backend(name, **{"pools": {"p0": {}, "p1": {}}, "clone_across_pools": True, **more})


def by_turns(b: Builder, images: str, hosts: str, every: float, start: float = 0) -> Builder:
    """A create of each image named, on the hosts in turn."""
    for number, name in numbered(images):
        b.create(start + number * every, name, hosts.split()[number % len(hosts.split())])
    return b


@scenario("cache-only", "combined")
def cache_across_pools() -> Builder:
    """An entry serves all pools of its array. Limits stay a pool's own."""
    b = across(Builder(*small()), image_volume_cache_max_count=2)
    by_turns(b, "i0 i0 i1 i1 i2 i0 i2 i3 i0 i1 i3 i2", "a#p0 a#p1", 25.37)
    b.event(310.1, "update_image", image_id="i0").create(311.3, "i0", "a#p1").create(330.3, "i0")
    return b.storm(350.3, 3, "i1", "a#p1").storm(350.3, 3, "i1").delete(380.1, "v0").delete(381.1, "v1")


@scenario("cache-only", "combined", cluster=(False, True))
def cache_on_another_array(cluster: bool) -> Builder:
    """An entry of another array is found and cannot be cloned; nothing is cached in its place."""
    b = Builder(*small(3)).backend("b", cluster=cluster, nodes=["c1", "c2"])
    across(b, cluster=cluster, max_clones_per_volume=2)
    by_turns(b, "i0 i1 i0 i0 i1 i0 i2 i2 i0 i1 i0", "b#p0 a#p0 a#p1", 25.37).storm(300.1, 3, "i0", "a#p1")
    b.event(330.1, "update_image", image_id="i0").create(331.3, "i0").create(350.3, "i0", "a#p1")
    return b.create(370.3, "i0", "b#p0").event(380.1, "update_image", image_id="i1").create(381, "i1", "b#p0")


@scenario(where=("pinned", "placed"))
def clone_limit_across_pools(where: str) -> Builder:
    """Clones count on their source, whichever pool they are on; only there the limit drops the entry."""
    b = across(Builder(*small(2)), max_clones_per_volume=3)
    across(b, "b", max_clones_per_volume=2, pools={"p0": {"max_volumes": 6}})
    hosts = "a#p0 a#p1 b#p0"
    for number, name in numbered("i0 i0 i0 i0 i0 i0 i1 i0 i0 i1 i1 i1 i0 i0"):
        host = hosts.split()[number % 3]
        b.create(
            22.37 * number,
            name,
            **({"host": host} if where == "pinned" else {"host": "", "first_host": host}),
        )
    return b.delete(330.1, "v0").storm(340.3, 4, "i0", "a#p1")


@scenario("cache-only", thin=(True, False), clone_mib_s=(None, 300))
def room_across_pools(thin: bool, clone_mib_s: float | None) -> Builder:
    """The room of a clone is looked for on its own pool; a copy has its data there, else they stay."""
    pools = {"p0": {"capacity_gib": 34, "max_volumes": 5}, "p1": {"capacity_gib": 22}}
    b = across(Builder(image("i0", 3), image("i1", 4)), pools=pools, thin=thin, clone_mib_s=clone_mib_s)
    b.scenario["backends"]["a"] |= {"max_over_subscription_ratio": 1.5, "dedupe": clone_mib_s is not None}
    by_turns(b, "i0 i0 i0 i1 i1 i0 i1", "a#p0 a#p1", 90.37).delete(700.1, "v0").delete(701.1, "v1")
    return by_turns(b, "i1 i0 i1 i0", "a#p1 a#p0", 90.37, 710.3)


@scenario("store-only", "combined", cluster=(False, True))
def store_across_pools(cluster: bool) -> Builder:
    """Of an image's volumes in the store the newest alone is tried, on another array, too."""
    images = [
        image("i0", store_hosts="a#p0;b#p0"),
        image("i1", store_hosts="b#p0;a#p1"),
        image("i2", 2, owner="alice", store_hosts="a#p1"),
        image("i3", store_hosts="a#p0;a#p1"),
    ]
    b = across(Builder(*images), nodes=["c1", "c2"], cluster=cluster, max_clones_per_volume=3)
    b.backend("b", nodes=["c1", "c3"], cluster=cluster)
    by_turns(b, "i0 i0 i0 i1 i1 i1 i3 i3 i3 i3 i3 i0", "a#p0 a#p1 b#p0", 25.37)
    for number, project in enumerate(("alice", "bob", "")):
        b.create(320.3 + 20 * number, "i2", project=project)
    return b.event(400.1, "delete_image", image_id="i1").create(410.3, "i3", "a#p1").storm(411.1, 2, "i0")


@scenario("cache-only", "combined")
def nodes_across_pools() -> Builder:
    """Duplicates on several pools and nodes; the one used last of all is taken."""
    b = Builder(*small(3), cinder=BY_NODE, upload="no-op", store={"home": "b#p0"})
    across(b, nodes=["c1", "c2", "c3"], image_volume_cache_max_count=2)
    across(b, "b", nodes=["c2", "c1"], cluster=True)
    for host in ("a#p0", "a#p1", "b#p0", "a#p0"):
        b.create(0, "i0", host).create(1.1, "i1", host)
    by_turns(b, "i0 i0 i1 i0 i1 i2 i2 i0", "a#p1 a#p0 b#p1 b#p0", 15.37, 40.1)
    b.event(200.1, "update_image", image_id="i0").storm(201.3, 3, "i0", "a#p1").create(230.3, "i0", "b#p0")
    return by_turns(b, "i0 i1 i2 i0 i1 i2", "a#p0 a#p1", 15.37, 250.1)
