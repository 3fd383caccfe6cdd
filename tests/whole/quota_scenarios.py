"""Small named scenarios of refusals: quotas of projects, no conversion, volumes that are too small."""

from __future__ import annotations

from typing import Any

from .build import TIER, Builder, image, numbered
from .registry import scenario, small
from .upload_scenarios import NO_OP, uploaded

TIERS = {"flash": TIER, "disk": TIER}
QUOTAS: dict[str, dict[str, dict[str, int | None]]] = {
    "volumes": {"default": {"volumes": 3}, "alice": {"volumes": 2}},
    "gigabytes": {"default": {"gigabytes": 31}, "alice": {"gigabytes": -1}, "project": {"volumes": 4}},
    "volumes_type": {"default": {"volumes_flash": 2, "volumes": 4}, "alice": {"volumes_disk": 0}},
    "gigabytes_type": {"default": {"gigabytes_disk": 21, "gigabytes": 60}, "bob": {"gigabytes_flash": None}},
    "per_volume": {"default": {"per_volume_gigabytes": 9}, "bob": {"per_volume_gigabytes": 10}},
}


@scenario("none", "combined", of=tuple(QUOTAS))
def users_quota(of: str) -> Builder:
    """Refused by the API; a failed create keeps its quota, a delete gives it back at its end."""
    b = Builder(*small(3), tiers=TIERS, store={"home": "b#p0"}, cinder={"quotas": QUOTAS[of]})
    b.backend("a", pools={"p0": {"max_volumes": 5}}, delete_s=20)
    b.backend("b", ["disk"], pools={"p0": {"capacity_gib": 40}}, thin=False)
    for number, name in numbered("i0 i0 i1 i2 i0 i1 i1 i2 i0 i2 i0 i1"):
        tier, host = (("flash", "a#p0"), ("disk", "b#p0"), ("disk", ""))[number % 3]
        project = ("", "alice", "", "bob")[number % 4]
        b.create(9.37 * number, name, host, (10, 5, 12)[number % 3], volume_type=tier, project=project)
    b.delete(130.1, "v0").create(140.3, "", size=4).delete(141.1, "v2").delete(142.3, "v8")
    b.create(151.7, "i0", project="alice").create(152.1, "i1").delete(160.3, "v1").delete(161.3, "v5")
    b.create(170.3, "i2", size=9).create(171.3, "i2", "", 11, volume_type="disk", project="bob")
    return b.delete(190.1, "v14").create(230.1, "i0").create(231.1, "i0", project="alice")


@scenario("none", "cache-only", delete=("allowed", "busy"))
def users_quota_of_what_exists(delete: str) -> Builder:
    """What exists counts, even above the quota; what an array will not delete counts for ever."""
    quotas = {"default": {"volumes": 2, "gigabytes_flash": 20}}
    b = Builder(*small(2), cinder={"quotas": quotas}).backend("a", delete_with_clones=delete)
    b.initial = [
        {"kind": "volume", "volume_id": f"u{number}", "image_id": "", "size_gib": 7, "host": "a#p0"}
        for number in range(3)
    ]
    b.create(1.1, "i0", size=3).delete(5.3, "u0").create(10.1, "i0", size=3).delete(11.1, "u1")
    b.create(20.1, "i0", size=3).create(60.1, "i1", size=5, project="alice").delete(90.1, "v2")
    return b.create(100.3, "i0", size=3).delete(120.1, "v4").create(140.3, "i0", size=3)


@scenario("cache-only", of=("volumes", "gigabytes"))
def tenant_quota_by_type(of: str) -> Builder:
    """The cache of one tier is full, that of the other is not."""
    limits = {"volumes_flash": 1} if of == "volumes" else {"gigabytes_flash": 3, "gigabytes_disk": 4}
    images = [image("i0", 2), image("i1", 1.4), image("i2", 3), image("i3", 1)]
    b = Builder(*images, tiers=TIERS, cinder={"internal_tenant_quotas": limits})
    b.backend("a", image_volume_cache_max_count=2, delete_s=20).backend("b", "disk")
    for number, name in numbered("i0 i0 i1 i1 i2 i0 i3 i1 i3 i2 i0 i3"):
        tier = ("flash", "disk")[number % 2]
        b.create(70.37 * number, name, "ab"[number % 2] + "#p0", volume_type=tier)
    return b


@scenario("store-only", "combined", "replicated-store", "none", upload=("copy", "no-op"))
def store_of_the_internal_tenant(upload: str) -> Builder:
    """One quota for the cache and for the store: what is there, and what uploads put there."""
    cinder: dict[str, Any] = {
        "internal_tenant_owns_store": True,
        "image_upload_use_internal_tenant": True,
        "internal_tenant_quota_volumes": 6,
        "internal_tenant_quota_gigabytes": 11,
        "internal_tenant_quotas": {"volumes_flash": 5},
    }
    new = uploaded("raw", "qcow2", "raw", "raw")
    b = Builder(*small(3), *new, store={"home": "a#p0"}, tiers=TIERS, cinder=cinder, upload=upload)
    b.backend("a", pools={"p0": {}, "p1": {}}).backend("b", ["disk", "flash"])
    b.create(0, "i0", "a#p1", 2).create(1.3, "i1", "b#p0", 1).create(60.1, "i2", "a#p0", 4)
    for number in range(3):
        b.upload(100.1 + 30 * number, f"v{number}", f"n{number}")
    b.event(190.1, "delete_image", image_id="i1").event(200.1, "delete_image", image_id="n0")
    b.create(210.1, "i2", "b#p0", volume_type="disk").upload(260.1, "v2", "n3")
    return b.create(300.1, "n1", "a#p1").create(330.1, "n3", "a#p1").create(370.3, "i0")


@scenario("store-only", quota=("volumes", "gigabytes_flash"))
def no_op_of_a_full_project(quota: str) -> Builder:
    """Without `image_upload_use_internal_tenant`, an image-volume counts for who uploads."""
    limit = {"volumes": 3, "gigabytes_flash": 24}[quota]
    b = Builder(*small(1), *uploaded("raw", "raw", "raw"), **NO_OP)
    b.scenario["cinder"] = {"quotas": {"default": {quota: limit}, "alice": {quota: 2}}}
    b.backend("a").create(0, "i0", size=6).create(0.3, "i0", size=9).upload(60.1, "v0", "n0")
    b.create(65.3, "i0", size=4).upload(70.1, "v1", "n1").create(90.1, "i0", project="alice", size=2)
    return b.event(100.1, "delete_image", image_id="n0").upload(130.1, "v1", "n2").create(160.3, "i0")


@scenario("store-only", delete=("allowed", "busy"))
def stored_later_by_the_internal_tenant(delete: str) -> Builder:
    """An image that comes into the store takes quota; what is left of one that failed keeps it."""
    cinder: dict[str, Any] = {"internal_tenant_owns_store": True, "internal_tenant_quota_volumes": 3}
    b = Builder(*small(4), tiers=TIERS, cinder=cinder | {"internal_tenant_quotas": {"gigabytes_disk": 1}})
    b.backend("a", delete_with_clones=delete, pools={"p0": {"max_volumes": 2}}, max_clones_per_volume=5)
    b.backend("b", ["disk", "flash"])
    b.store(1.1, "i0", "a#p0").store(20.3, "i1", "b#p0").store(21.3, "i1", "", "disk").create(60.1, "i0")
    b.store(70.1, "i2", "a#p0").store(100.3, "i2", "b#p0", "flash").create(150.1, "i1", "b#p0")
    b.event(170.1, "delete_image", image_id="i0").event(171.3, "delete_image", image_id="i1")
    b.store(190.3, "i2", "b#p0", "flash").create(230.1, "i2", "b#p0")
    return b.store(250.3, "i3", "", "disk").create(300.1, "i3", "b#p0", volume_type="disk")


@scenario("none", "cache-only", "combined", attempts=(1, 3))
def conversion_disabled(attempts: int) -> Builder:
    """A qcow2 create ends in an error, which is final, and leaves its volume; its upload fails, too."""
    options = {"image_conversion_disable": True, "scheduler_max_attempts": attempts}
    images = [image("i0", 2), image("i1", 3, "qcow2", min_disk=4)]
    b = Builder(*images, *uploaded("qcow2", "raw"), store={"home": "a#p0"}, cinder=options)
    b.backend("a", pools={"p0": {"capacity_gib": 34}}, thin=False).backend(
        "b", image_volume_cache_max_count=1
    )
    b.create(0, "i1", "", size=8).create(1.3, "i1", "", size=9, encrypted=True).create(2.3, "i0", "b#p0")
    b.create(60.1, "i1", "b#p0", size=3).create(61.1, "i1", "a#p0", size=30).create(62.1, "i0", "a#p0", 5)
    b.upload(90.1, "v2", "n0").upload(91.3, "v5", "n1")
    return b.delete(120.1, "v0").create(150.1, "i1", "b#p0", size=4).create(200.3, "n1", size=2)


@scenario("none", "cache-only", lock=("cloud", "node"))
def conversion_directory(lock: str) -> Builder:
    """Cinder's check refuses downloads and clones of the cache; uploads that are not raw need space, too."""
    images = [image("i0", 1), image("i1", 2), image("i2", 3, "qcow2", size=1)]
    b = Builder(
        *images,
        image("n0", 5, "qcow2", size=2),
        glance={"streams": 2, "stream_mib_s": 100},
        cinder={"lock_scope": lock},
    )
    b.scenario["nodes"] = {"c1": {"image_conversion_gib": 2.5}, "c2": {"image_conversion_gib": 1.5}}
    b.backend("a", node="c1", write_streams=1, write_mib_s=50).backend("b", nodes=["c2", "c3", "c1"])
    b.create(0, "i0", "b#p0").create(60, "i2")  # b's cache has i0, a's i2
    for time in (100, 200):
        b.create(time, "i2").create(time, "i1", "").create(time, "i2", "", encrypted=True)
        b.create(time, "i0", "").create(time, "i0", "", encrypted=True).create(time + 5, "i2")
    b.storm(300, 3, "i2", encrypted=True).create(301, "i0").create(302, "i1", "b#p0")
    b.upload(310, "v1", "n0").create(311, "i2").create(312, "i0", "b#p0").create(330, "i1")
    return b.create(500, "n0").create(600, "i2")


@scenario("none", "combined", attempts=(1, 3))
def conversion_disk_full(attempts: int) -> Builder:
    """What fills a disk while a download waits for its stream: it fails, and is tried elsewhere."""
    b = Builder(image("i0", 2), image("i1", 2, "qcow2", size=2), image("i2", 1), image("n0", 2, "qcow2"))
    b.scenario |= {
        "glance": {"streams": 1, "stream_mib_s": 100},
        "nodes": {"c1": {"image_conversion_gib": 3}},
    }
    b.scenario["cinder"]["scheduler_max_attempts"] = attempts
    b.backend("a", node="c1", write_mib_s=50).backend("b", node="c2", pools={"p0": {"max_volumes": 2}})
    for time in (0, 300):
        b.create(time, "i2", "b#p0").create(time + 1, "i0", "", first_host="a#p0", size=2)
        b.create(time + 1.3, "i1", "", first_host="a#p0").create(time + 2.3, "i1", "a#p0", encrypted=True)
    return b.upload(340, "v1", "n0").create(500, "i1")


@scenario("combined", attempts=(2, 3))
def second_downloads(attempts: int) -> Builder:
    """The first ended, and its volume did not grow: of the second's failure Cinder tells the cause."""
    b = Builder(
        *(image("i0", 1), image("i1", 5), image("i2", 2)),
        image("q0", 5, "qcow2", size=5, store_hosts="c#p0"),
        glance={"streams": 2, "stream_mib_s": 100},
        tiers={"flash": {**TIER, "multiattach": False}},
        nodes={"c2": {"image_conversion_gib": 5.5}},
    )
    b.scenario["cinder"]["scheduler_max_attempts"] = attempts
    b.backend("a", pools={"p0": {"capacity_gib": 8}}, node="c1", max_over_subscription_ratio=1.0)
    b.backend("b", node="c2").backend("c", node="c3").backend("d", node="c4")
    # The disk of c2 fills while the second download waits for its stream.
    b.create(0, "i0", "", first_host="a#p0").storm(1, 2, "i2", "d#p0", encrypted=True)
    b.create(12, "i1", "b#p0")
    # Another reads the only location of q0 when the second download begins.
    b.create(200, "q0", "", first_host="a#p0").create(255, "q0", "d#p0", encrypted=True)
    return b


@scenario("none", "cache-only")
def raw_files_to_import() -> Builder:
    """RBD's driver also writes a raw file: Cinder checks the space for the download alone."""
    images = [image("i0", 1), image("i1", 2), image("i2", 4, "qcow2", size=1), image("i3", 6, "qcow2")]
    b = Builder(*images, glance={"streams": 4, "stream_mib_s": 100})
    b.scenario["nodes"] = {"c1": {"image_conversion_gib": 5.2}, "c2": {"image_conversion_gib": 8.5}}
    b.backend("a", node="c1", imports_raw_file=True, write_streams=2, write_mib_s=50)
    b.backend("b", node="c2", imports_raw_file=True, pools={"p0": {"capacity_gib": 9}})
    for time in (0, 200):
        b.create(time, "i0").create(time + 1, "i1").create(time + 2, "i2").create(time + 3, "i3", "")
        b.create(time + 60, "i2").create(time + 61, "i2", encrypted=True).create(time + 65, "i1", "")
        b.create(time + 66, "i3", "b#p0").create(time + 70, "i1", "b#p0").create(time + 80, "i2", "b#p0")
    return b


@scenario("none", "cache-only", "combined", attempts=(1, 3))
def unknown_virtual_size(attempts: int) -> Builder:
    """Cinder finds it after the download, and fails volumes that are too small, unless the cache has it."""
    images = [image(f"i{n}", gib, fmt, virtual_size_unknown="true") for n, gib, fmt in _UNKNOWN]
    b = Builder(*images, store={"home": "a#p0"}, cinder={"scheduler_max_attempts": attempts})
    b.backend("a", image_volume_cache_max_size_gb=5).backend("b", image_volume_cache_max_count=1)
    for time, sizes in ((0, (3, 6)), (200, (2, 8))):
        for size in sizes:
            for number in range(len(_UNKNOWN)):
                b.create(time + size, f"i{number}", "", size=size).create(
                    time + size, f"i{number}", "b#p0", size
                )
    return b.create(600, "i0", size=3, encrypted=True).create(700, "i2", "b#p0", size=3)


_UNKNOWN = ((0, 4, "qcow2"), (1, 2, "raw"), (2, 6, "qcow2"))


@scenario("none")
def smallest_volumes() -> Builder:
    """The API looks at the file's size, then at `min_disk`, then at the virtual size."""
    images = [
        image("i0", 2, min_disk=5),
        image("i1", 6, "qcow2", size=3, min_disk=4),
        image("i2", min_disk=1),
    ]
    b = Builder(*images).backend("a")
    for number, size in enumerate((1, 2, 3, 4, 5, 6)):
        for name in ("i0", "i1", "i2"):
            b.create(60.37 * number, name, size=size)
    return b
