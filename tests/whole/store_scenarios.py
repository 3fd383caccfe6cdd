"""Named scenarios of the Cinder store: images that come into it later, and attachments to read them."""

from __future__ import annotations

from .build import TIER, Builder, image
from .registry import scenario, small


@scenario("cache-only", "store-only", "combined")
def store_image() -> Builder:
    """The image-volume serves creates of its pool once the location is there; the cache goes stale twice."""
    b = Builder(*small(1), image("q0", 2, "qcow2"), image("i1", 2.4)).backend("a").backend("b")
    b.create(0, "i0").create(0.3, "i0", "b#p0").store(20.1, "i0", "a#p0").create(21.3, "i0")
    b.create(25.1, "i0", "b#p0").creates("i0 i0", 20.37, start=40.1).create(60.3, "i0", "b#p0")
    b.store(90.1, "q0", "b#p0").store(90.1, "i1", volume_type="flash")
    for number, name in enumerate(("q0", "i1", "q0", "i1")):
        b.create(140.1 + 30.37 * number, name).create(141.3 + 30.37 * number, name, "b#p0")
    b.event(300.1, "delete_image", image_id="i0").create(301.3, "i0")
    return b.create(310.1, "i1").create(311.3, "i1", "b#p0")


@scenario("combined", streams=(None, 1))
def newest_of_the_store(streams: int | None) -> Builder:
    """A second image-volume of a pool is tried from then on, the first no more; streams are shared."""
    b = Builder(*small(2), glance={"streams": streams, "stream_mib_s": 75}, store={"home": "a#p0"})
    b.backend("a", max_clones_per_volume=2).create(0, "i0").create(1.1, "i0").create(2.3, "i0")
    b.store(10.1, "i0", "a#p0").store(11.3, "i1", "a#p0").creates("i0 i0 i0 i1", 20.37, start=60.1)
    return b.event(200.1, "delete_image", image_id="i0").create(220.1, "i1")


@scenario("combined", full=("volumes", "gib", "space"))
def no_room_in_the_store(full: str) -> Builder:
    """No place: the volume is in error. No space for the file: Glance deletes the volume."""
    b = Builder(image("i0", 3), image("i1", 2.5), tiers={"flash": TIER})
    pool = {"volumes": {"max_volumes": 1}, "gib": {"capacity_gib": 11}, "space": {"capacity_gib": 5}}[full]
    b.backend("a", pools={"p0": pool}, max_over_subscription_ratio=20 if full == "space" else 1)
    b.create(0, "i0").store(60.1, "i1", "", "flash").create(90.1, "i1", size=3)
    b.delete(100.1, "v0").store(120.1, "i1", "a#p0").create(180.1, "i1", size=3)
    return b.create(200.1, "i1", size=3)


@scenario("combined", rows=("VolumeNumberWeigher", "CapacityWeigher"))
def store_image_placed(rows: str) -> Builder:
    """The scheduler places the store's image-volumes, and counts what they take; busy ones stay."""
    b = Builder(
        *small(3),
        image("big", 6),
        tiers={"flash": TIER, "disk": TIER},
        cinder={"scheduler_default_weighers": [rows]},
    )
    b.backend("a", pools={"p0": {"capacity_gib": 60}, "p1": {"capacity_gib": 58}}, thin=False)
    b.backend("b", "disk", pools={"p0": {"capacity_gib": 90}}, delete_with_clones="busy")
    for number, name in enumerate(("i0", "i1", "big", "i2")):
        b.store(1.1 + 15.37 * number, name, volume_type=("flash", "disk")[number // 3])
        b.create(8.1 + 15.37 * number, name, "")
    for number in range(4):
        b.create(90.1 + 5.37 * number, "big", "").create(
            91.3 + 20 * number, f"i{number % 3}", "b#p0", volume_type="disk"
        )
    b.event(250.1, "delete_image", image_id="i2").event(251.3, "delete_image", image_id="big")
    return b.creates("i0 i1 i0", 20.37, "", start=300.1)


@scenario("combined")
def store_image_of_what_goes() -> Builder:
    """Images deleted meanwhile, or not there; private ones; a pool where a cache has the image."""
    b = Builder(*small(2), image("mine", owner="alice"), image("n0")).backend(
        "a", image_volume_cache_max_count=1
    )
    b.create(0, "i0").store(30.1, "i0", "a#p0").event(33.3, "delete_image", image_id="i0").create(34.1, "i0")
    b.store(40.1, "i0", "a#p0").store(41.3, "n0", "a#p0").upload(50.1, "v0", "n0")
    b.store(50.3, "n0", "a#p0").store(80.1, "n0", "a#p0").create(110.3, "n0").create(111.1, "i1")
    b.store(130.1, "mine", "a#p0").create(131.3, "mine", project="alice")
    return b.create(160.1, "mine", project="alice").create(161.3, "mine", project="bob").create(180.1, "i1")


@scenario("store-only", "combined", streams=(None, 2))
def one_reader_at_a_time(streams: int | None) -> Builder:
    """Downloads of one image wait for its image-volume: 0, 2, 6, 14 and 24 s after the first try."""
    b = Builder(
        image("q0", 5, "qcow2", store_hosts="a#p0"),
        image("i1", 1.2),
        glance={"streams": streams, "stream_mib_s": 100},
        tiers={"flash": {**TIER, "multiattach": False}},
        cinder={"lock_scope": "node"},
        store={"home": "a#p0"},
    )
    b.backend("a").backend("b", node="c2").backend("c", node="c3", pools={"p0": {}, "p1": {}})
    b.create(0, "q0").create(0.3, "q0", "b#p0").create(0.5, "q0", "").create(5.1, "q0", "c#p1")
    b.create(100.1, "i1", "b#p0").create(100.3, "i1", "b#p0").create(101.1, "i1").create(103.3, "i1", "")
    return b.storm(200.1, 4, "q0", "", encrypted=True).storm(300.1, 3, "i1", "")


@scenario("combined")
def stored_by_a_second_attempt() -> Builder:
    """The first backend is full: the image-volume is made on another, and serves its creates."""
    b = Builder(image("i0"), store={"volume_type": "flash"})
    b.backend("a", pools={"p0": {"capacity_gib": 100, "max_volumes": 1}})
    b.backend("b", node="c2", pools={"p0": {"capacity_gib": 1000}})
    b.create(0, "").event(10.1, "store_image", image_id="i0", volume_type="flash", first_host="a#p0")
    return b.create(90.1, "i0", "b#p0").create(120.3, "i0", "b#p0")


@scenario("combined")
def another_location() -> Builder:
    """Glance tries the locations one after another; one of a multiattach type serves everybody."""
    b = Builder(
        image("q0", 5, "qcow2", store_hosts="a#p0;b#p0"),
        image("q1", 9, "qcow2", store_hosts="a#p0;c#p0"),
        image("q2", 5, "qcow2"),
        tiers={"flash": {**TIER, "multiattach": False}, "disk": TIER},
        cinder={"lock_scope": "node"},
    )
    b.backend("a").backend("b", node="c2").backend("c", "disk", node="c3")
    for number, name in enumerate(("q0", "q1", "q2")):
        for host in ("a#p0", "b#p0", "a#p0", "b#p0", "b#p0"):
            b.create(0.1 + 200 * number, name, host, encrypted=True)
    b.store(700.1, "q2", "a#p0").storm(750.1, 3, "q2", encrypted=True)
    return b.event(760.1, "delete_image", image_id="q2").create(770.1, "q2")


@scenario("combined", delete=("allowed", "busy"))
def deleted_while_it_is_read(delete: str) -> Builder:
    """Cinder refuses to delete what is attached, and Glance stops there: the image stays."""
    b = Builder(
        image("q0", 5, "qcow2", store_hosts="a#p0;b#p0"),
        image("q1", 2, "qcow2", store_hosts="a#p0"),
        image("i2", 3, store_hosts="a#p0;b#p0"),
        tiers={"flash": {**TIER, "multiattach": False}},
        cinder={"lock_scope": "node"},
    )
    b.backend("a", delete_with_clones=delete, delete_s=9).backend("b", node="c2", delete_with_clones=delete)
    b.storm(0.1, 3, "q0", encrypted=True).event(3.3, "delete_image", image_id="q0").create(5.1, "q0")
    b.event(30.1, "delete_image", image_id="q0").create(60.1, "q0")
    b.storm(100.1, 3, "q1", encrypted=True).event(107.7, "delete_image", image_id="q1").create(109.1, "q1")
    b.create(200.1, "i2", "b#p0").create(203.1, "i2", "b#p0", encrypted=True)
    b.create(203.3, "i2", encrypted=True).event(207.1, "delete_image", image_id="i2")
    return b.create(215.1, "i2", "b#p0").event(290.1, "delete_image", image_id="i2").create(291.1, "i2")
